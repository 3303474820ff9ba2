"""Kills, power cuts, full disks and other faults, by the dozen: `scripts/torture.sh` for minutes, the suite briefly.

Every trial is drawn from a seed, but when a kill takes effect depends on the machine, so no two rounds are alike.
"""
