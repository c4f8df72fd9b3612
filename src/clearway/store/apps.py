"""The app's name for Django."""

from django.apps import AppConfig


class StoreConfig(AppConfig):
    """Label `store`; tables carry their own names."""

    name = "clearway.store"
    label = "store"
    default_auto_field = "django.db.models.BigAutoField"
