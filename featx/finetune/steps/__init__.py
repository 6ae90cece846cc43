"""Train steps: values at the cut, batches of them, and the graph that learns from one."""
