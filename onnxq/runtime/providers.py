"""Execution providers of ONNX Runtime, as users name them."""

from __future__ import annotations

from collections.abc import Sequence

import onnxruntime as ort

from onnxq.errors import OptionError, UnknownNameError

#: A provider and its options, as ``onnxruntime.InferenceSession`` takes them.
Provider = tuple[str, dict[str, str]]

CPU: Provider = ("CPUExecutionProvider", {})


def available() -> list[str]:
    """Full names of the providers that are there, the preferred first."""
    return list(ort.get_available_providers())


def short(name: str) -> str:
    """``"CUDAExecutionProvider"`` as ``"cuda"``."""
    return name.lower().removesuffix("executionprovider")


def parse_providers(text: str | Sequence[str]) -> tuple[Provider, ...]:
    """Providers in order, from ``"cuda:device_id=0:arena_extend_strategy=kSameAsRequested,cpu"``.

    Each is a full or short name with ``:option=value`` parts. The CPU comes last where it is not
    named, since every other provider leaves some operators to it.

    Raises:
        UnknownNameError: a provider that is not installed; those that are there are listed.
        OptionError: an option without a value.
    """
    names = {short(n): n for n in available()}
    chosen: list[Provider] = []
    for part in text.split(",") if isinstance(text, str) else text:
        name, *options = part.strip().split(":")
        if not name:
            continue
        full = names.get(short(name))
        if full is None:
            raise UnknownNameError(
                "execution provider", name, available(), hint="one of " + ", ".join(available())
            )
        settings = dict(_option(name, o) for o in options)
        chosen.append((full, settings))
    if not any(n == CPU[0] for n, _ in chosen):
        chosen.append(CPU)
    return tuple(chosen)


def resolve(providers: Sequence[Provider | str]) -> tuple[Provider, ...]:
    """*providers* with names in full and options as pairs; the CPU where there is none."""
    found: dict[str, Provider] = {}
    for provider in providers:
        pairs = (provider,) if isinstance(provider, tuple) else parse_providers(provider)
        for pair in pairs:
            found.setdefault(pair[0], pair)
    return tuple(found.values()) or (CPU,)


def _option(provider: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise OptionError(f"provider '{provider}': '{text}' is no option", hint="option=value")
    return key.strip(), value.strip()
