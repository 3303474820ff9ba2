"""`python -m integral_pose` is `integral-pose`."""

import sys

from integral_pose.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
