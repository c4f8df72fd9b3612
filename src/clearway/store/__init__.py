"""What people decided and which lists there are: a Django app of one database, without pages.

Call `setup` before importing `decide`, `wanted`, `lists` or `models`, as Django asks; `change` and `requests` need no
database. Nothing here touches a kernel: whoever calls `decide` brings the change that it returns into force.
"""

from clearway.store.database import setup

__all__ = ["setup"]
