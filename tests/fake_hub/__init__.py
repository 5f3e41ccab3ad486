"""A Hub on 127.0.0.1 for tests: `from fake_hub import Fault, TestHub, Token`."""

from .faults import Fault
from .server import TestHub, Token
from .store import Commit, File, Repo
from .wire import Request

__all__ = ["Commit", "Fault", "File", "Repo", "Request", "TestHub", "Token"]
