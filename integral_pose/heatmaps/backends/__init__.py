"""The volume operator on each kind of hardware; `heatmaps.reference` is what they must agree with."""
