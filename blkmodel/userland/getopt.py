"""getopt_long(), as the C library has it: the options of a command line, in order, and its words for what is wrong."""

from collections.abc import Iterator, Mapping, Sequence


class BadOption(ValueError):
    """A command line that cannot be read; the message is the C library's, without the name of the tool."""


def getopt_long(line: Sequence[str], arguments: list[str], options: Mapping[str, bool | None],
                letters: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    """Yield (name, argument) of each option of a command line; append the words that are no options to `arguments`.

    options: name → whether it has an argument; None for an option of which only the name is to be known. letters:
    letter → name. BadOption says what is wrong.
    """
    left = list(line)
    while left:
        if (word := left.pop(0)) == "--":
            arguments += left
            return
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            fitting = [name] if name in options else [option for option in options if option.startswith(name)]
            if len(fitting) > 1:
                found = " ".join(f"'--{option}'" for option in fitting)
                raise BadOption(f"option '{word}' is ambiguous; possibilities: {found}")
            if not fitting:
                raise BadOption(f"unrecognized option '{word}'")
            name = fitting[0]
            if equals and options[name] is False:
                raise BadOption(f"option '--{name}' doesn't allow an argument")
            if options[name] and not equals and not left:
                raise BadOption(f"option '--{name}' requires an argument")
            yield name, None if not options[name] else value if equals else left.pop(0)
        elif word.startswith("-") and len(word) > 1:
            rest = word[1:]
            while rest:
                letter, rest = rest[0], rest[1:]
                if letter not in letters:
                    raise BadOption(f"invalid option -- '{letter}'")
                name = letters[letter]
                if options[name]:
                    if not rest and not left:
                        raise BadOption(f"option requires an argument -- '{letter}'")
                    yield name, rest or left.pop(0)
                    break
                yield name, None
        else:
            arguments.append(word)


def saturated(digits: str, most: int) -> int:
    """The value of ASCII digits, of any length; at most `most`, as strtoull() has it."""
    digits = digits.lstrip("0")
    return most if len(digits) > len(str(most)) else min(int(digits or "0"), most)
