"""Colours of all figures and of the page: Okabe and Ito's palette, which survives colour blindness."""

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
GREY = "#404040"

SIDE_COLOURS = {"right": BLUE, "left": VERMILION, "middle": GREEN}  # of the body
MIDDLE_GREY = "#808080"  # of levels, told from paper and ink in the light and in the dark
SERIES_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE)  # of runs and of loss terms
