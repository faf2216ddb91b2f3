"""Network services as in test_services.py, with API, logic and worker apart."""
import unittest

import vimd
from apart import Apart

vimd.Vimd = Apart

from test_services import *  # noqa: E402,F401,F403 (the scenes, whose daemon is now several)

if __name__ == "__main__":
    unittest.main(verbosity=2)
