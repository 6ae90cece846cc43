"""How well a head does, and how well something simpler would."""
