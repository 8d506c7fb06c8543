"""What a user is told of a wrong command line: one line that says what is wrong and where to look."""

from cyclopts import (
    App,
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from labelbench_ray.registry import did_you_mean

ANYWHERE = ("--debug", "--help")
"""Options of every command, and of the program itself."""


def in_words(app: App, error: CycloptsError) -> str:
    """What is wrong with the words of a command line, by our names for things, and which help tells more."""
    command = " ".join(["labelbench", *(error.command_chain or ())])
    told = " ".join(_told(app, error).split())
    return f"{command}: {told}{'' if told.endswith(('.', '?')) else '.'} See `{command} --help`."


def _told(app: App, error: CycloptsError) -> str:
    if isinstance(error, UnknownCommandError) and error.unused_tokens:
        return _unknown_word(app, error.unused_tokens[0])
    if isinstance(error, UnknownOptionError):
        asked = (error.token.keyword or error.token.value).partition("=")[0]
        names = [name for argument in error.argument_collection for name in argument.names if name.startswith("-")]
        if "--set" in names and _is_of_the_file(asked):
            return f"unknown option {asked}. Of the file, it is set by `--set {asked.lstrip('-')}=VALUE`"
        return f"unknown option {asked}.{did_you_mean(asked, [*names, *ANYWHERE])}"
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"{error.unused_tokens[0]!r} is one word too many"
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        name = error.argument.name
        given = error.keyword is not None or bool(error.argument.tokens)
        return f"{name} needs a value" if given else f"{name.removeprefix('--').upper()} is missing"
    return str(error)


def _is_of_the_file(option: str) -> bool:
    from labelbench_ray.config import Experiment

    return option.lstrip("-").partition(".")[0] in Experiment.model_fields


def _unknown_word(app: App, word: str) -> str:
    if word.startswith("-"):
        return f"unknown option {word}.{did_you_mean(word, ['--version', *ANYWHERE])}"
    commands = [name for name in app if not name.startswith("-")]
    return f"unknown command {word!r}.{did_you_mean(word, commands)} Commands: {', '.join(commands)}"
