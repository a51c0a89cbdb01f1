"""Which key services there are, and how one is opened from options.

Others are found by the entry points ``tickvault.key_services`` of the installed packages: each is a callable that takes
a mapping of options, str to str, and returns a `KeyService`.

Invariants: the built-in names cannot be taken over by another package; a secret is never an option, a file that holds
it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points

from tickvault.errors import InvalidInputError
from tickvault.security.cipher import suite_named
from tickvault.security.keyring.envelope import AGE_MAX_S, COUNT_MAX, EnvelopeKeyService
from tickvault.security.keyring.file_service import FileKeyService
from tickvault.security.keyring.keyring import open_keyring
from tickvault.security.keyring.protection import KeyFile, Passphrase, Protection
from tickvault.security.keyring.service import KeyService
from tickvault.security.keyring.transit_service import TransitKeyService

GROUP = "tickvault.key_services"


def open_file_service(options: Mapping[str, str]) -> FileKeyService:
    """Return the service of a keyring file.

    Parameters
    ----------
    options : mapping of str to str
        ``path``; ``passphrase_file`` or ``key_file``; ``lowest_generation``.
    """
    _check_options("file", options, {"path", "passphrase_file", "key_file", "lowest_generation"})
    if not options.get("path") or bool(options.get("passphrase_file")) == bool(options.get("key_file")):
        raise InvalidInputError("the key service file needs path, and either passphrase_file or key_file")
    protection: Protection
    if options.get("key_file"):
        protection = KeyFile(options["key_file"], opens=options["path"])
    else:
        protection = Passphrase.from_file(options["passphrase_file"], opens=options["path"])
    lowest = options.get("lowest_generation", "0")
    if not (lowest.isascii() and lowest.isdigit() and len(lowest) < 19):
        raise InvalidInputError(f"lowest_generation={lowest!r:.80} of the key service file must be a number")
    return FileKeyService(open_keyring(options["path"], protection, lowest_generation=int(lowest)))


def open_transit_service(options: Mapping[str, str]) -> EnvelopeKeyService:
    """Return the service of a transit engine, asked seldom.

    Parameters
    ----------
    options : mapping of str to str
        Those of `TransitKeyService.from_options`; ``age_max_s``, ``count_max`` and ``suite`` of `EnvelopeKeyService`.
    """
    rest = dict(options)
    try:
        age_max_s, count_max = float(rest.pop("age_max_s", AGE_MAX_S)), int(rest.pop("count_max", COUNT_MAX))
    except ValueError:
        raise InvalidInputError("age_max_s and count_max of the key service transit must be numbers") from None
    suite = suite_named(rest.pop("suite", "aes-256-gcm"))
    return EnvelopeKeyService(
        TransitKeyService.from_options(rest), suite=suite, age_max_s=age_max_s, count_max=count_max
    )


_BUILT_IN: dict[str, Callable[[Mapping[str, str]], KeyService]] = {
    "file": open_file_service,
    "transit": open_transit_service,
}


def key_service_names() -> list[str]:
    """Return the names that `open_key_service` knows."""
    return sorted({*_BUILT_IN, *(point.name for point in entry_points(group=GROUP))})


def open_key_service(name: str, options: Mapping[str, str]) -> KeyService:
    """Return a key service.

    Raises
    ------
    InvalidInputError
        There is none of that name, it cannot be loaded, or an option is wrong.
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name](options)
    for point in entry_points(group=GROUP, name=name):
        try:
            factory = point.load()
        except (ImportError, AttributeError) as error:
            raise InvalidInputError(
                f"the key service {name} cannot be loaded ({error}); install its package"
            ) from error
        service: KeyService = factory(options)
        return service
    raise InvalidInputError(f"there is no key service {name!r:.80}; there are {', '.join(key_service_names())}")


def _check_options(name: str, options: Mapping[str, str], known: set[str]) -> None:
    unknown = options.keys() - known
    if unknown:
        raise InvalidInputError(
            f"the key service {name} has no option {sorted(unknown)[0]!r:.80}; it has {', '.join(sorted(known))}"
        )
