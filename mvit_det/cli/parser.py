"""A parser of arguments that suggests the flag that a misspelled one may mean."""

import argparse
import difflib
from typing import Any


class SuggestingParser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that reports an unknown flag before a missing one, with the closest flag."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments; exit with status 2 if one is an unknown flag."""
        known = [option for action in self._actions for option in action.option_strings]
        for argument in args or ():
            if argument == "--":  # only positional arguments follow
                break
            flag = argument.partition("=")[0]
            if flag.startswith("--") and not any(option.startswith(flag) for option in known):
                matches = difflib.get_close_matches(flag, known, n=1)
                hint = f"did you mean {matches[0]}?" if matches else f"see {self.prog} --help"
                self.error(f"unknown argument {flag}: {hint}")
        return super().parse_known_args(args, namespace)
