"""The language of the command: that of OPERATOR_LANGUAGE, else of the shell (LC_ALL, LC_MESSAGES, LANG).

A process speaks one language, and its help is made when it is imported, so this is chosen then, once. JSON, CSV, the
names of commands and the states that --state takes are the same in every language.
"""

import os

from payments.env_file import read_env_file
from payments.errors import SettingsError
from payments.language import Language, language_of


def _chosen() -> Language:
    try:
        setting = os.environ.get("OPERATOR_LANGUAGE") or read_env_file().get("OPERATOR_LANGUAGE")
    except SettingsError:  # reported by the command, which reads it again
        setting = None
    wanted = (setting, *(os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG")))
    first = next(filter(None, wanted), "")
    return language_of("pt-BR" if first.lower().startswith("pt") else "en")


language = _chosen()
_ = language.gettext
