"""Files, images, devices and processes: what every package reads and writes with."""
