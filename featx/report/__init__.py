"""Pages for people: one HTML file each that needs nothing else, on any screen.

A section is written as it comes, so a page of many thousand items takes little memory.
"""
