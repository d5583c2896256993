"""Training pairs from openly licensed real pictures.

`canvases` reads and splits the pictures by place, `cutouts` moves buildings and
ground about, `pairs` makes pairs with their truth. Nothing here is needed to
train from generated scenes alone.
"""
