"""From images to heat maps or joints."""
