"""Writes the manual pages of the command-line tool: manual.py TOOL VERSION DIRECTORY.

All text comes from the tool's own help, which it hands out as JSON (--experimental-dump-help): one page for the tool and
one for each subcommand. In the help's longer text a line `TITLE: ...` in capitals begins a section of the page, and
indented lines are shown as they are.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

FORMAT = 0  # of the JSON that is understood here


def escape(text):
  """Text for troff: no escapes, no requests, and hyphens that can be copied."""
  text = text.replace("\\", "\\e").replace("-", "\\-")
  return re.sub(r"^([.'])", r"\\&\1", text)


def name_of(command):
  return "-".join([*command.get("superCommands", []), command["commandName"]])


def names(argument):
  return ", ".join(("-" if name["kind"] == "short" else "--") + name["name"] for name in argument["names"])


def shown(command):
  """The command's arguments that belong into a manual, positional ones first."""
  arguments = [argument for argument in command.get("arguments", []) if argument["shouldDisplay"]]
  return sorted(arguments, key=lambda argument: argument["kind"] != "positional")


def synopsis(command):
  words = [f"\\fB{escape(' '.join([*command.get('superCommands', []), command['commandName']]))}\\fP"]
  for argument in sorted(shown(command), key=lambda argument: argument["kind"] == "positional"):
    value = f"\\fI{escape(argument['valueName'])}\\fP"
    if argument["kind"] == "positional":
      word = f"\\-\\- {value} ..." if argument["isRepeating"] else value
    else:
      word = f"\\fB{escape('--' + argument['preferredName']['name'])}\\fP"
      word += f" {value}" if argument["kind"] == "option" else ""
    words.append(f"[{word}]" if argument["isOptional"] else word)
  if command.get("subcommands"):
    words.append("\\fIsubcommand\\fP ...")
  return " ".join(words)


def describe(argument):
  """A tagged paragraph for an argument."""
  if argument["kind"] == "positional":
    tag = f"\\fI{escape(argument['valueName'])}\\fP"
  else:
    tag = f"\\fB{escape(names(argument))}\\fP"
    if argument["kind"] == "option":
      tag += f" \\fI{escape(argument['valueName'])}\\fP"
  text = argument.get("abstract", "")
  if values := argument.get("allValues"):
    text += f" One of {', '.join(values)}."
  if default := argument.get("defaultValue"):
    text += f" Default: {default}."
  return [".TP", tag, escape(text)]


def sections(discussion):
  """(title, lines) of each part of the help's longer text; the first has no title."""
  parts = [("", [])]
  for line in discussion.splitlines():
    if found := re.fullmatch(r"([A-Z][A-Z ]+): ?(.*)", line):
      parts.append((found[1], [found[2]] if found[2] else []))
    else:
      parts[-1][1].append(line)
  return parts


def body(lines):
  """Paragraphs, and what is indented as it stands."""
  output, is_example = [], False
  for line in lines:
    if line.startswith("  ") != is_example and line.strip():
      is_example = not is_example
      output.append(".EX" if is_example else ".EE")
    if line.strip():
      output.append(escape(line.strip() if not is_example else line))
    elif not is_example:
      output.append(".PP")
  while output and output[-1] == ".PP":
    output.pop()
  return output + ([".EE"] if is_example else [])


def page(command, version):
  title = name_of(command)
  lines = [f'.TH {escape(title.upper())} 1 "" "libfabric\\-polyfill {version}" "User Commands"', ".SH NAME",
           f"{escape(title)} \\- {escape(command['abstract'].rstrip('.'))}", ".SH SYNOPSIS", synopsis(command)]
  (_, description), *others = sections(command.get("discussion", ""))
  lines += [".SH DESCRIPTION", escape(command["abstract"]), ".PP", *body(description)]
  lines += [".SH OPTIONS"] + [line for argument in shown(command) for line in describe(argument)]
  subcommands = [sub for sub in command.get("subcommands", []) if sub["shouldDisplay"] and sub["commandName"] != "help"]
  if subcommands:
    lines.append(".SH SUBCOMMANDS")
    for subcommand in subcommands:
      lines += [".TP", f"\\fB{escape(subcommand['commandName'])}\\fP",
                f"{escape(subcommand['abstract'])} See \\fB{escape(name_of(subcommand))}\\fP(1)."]
  for heading, text in others:
    lines += [f".SH {heading}", *body(text)]
  others = [name_of(sub) for sub in subcommands] or command["superCommands"]
  lines += [".SH SEE ALSO", ", ".join(f"\\fB{escape(name)}\\fP(1)" for name in others) + ", \\fBfi_info\\fP(1)"]
  return "\n".join(lines) + "\n", subcommands


def write(command, version, directory):
  text, subcommands = page(command, version)
  (directory / f"{name_of(command)}.1").write_text(text, encoding="utf-8")
  for subcommand in subcommands:
    write(subcommand, version, directory)


def main(tool, version, directory):
  help_text = subprocess.run([tool, "--experimental-dump-help"], check=True, stdout=subprocess.PIPE).stdout
  help_tree = json.loads(help_text)
  if help_tree["serializationVersion"] != FORMAT:
    sys.exit(f"the help has format {help_tree['serializationVersion']}, not {FORMAT}")
  Path(directory).mkdir(parents=True, exist_ok=True)
  write(help_tree["command"], version, Path(directory))


if __name__ == "__main__":
  main(*sys.argv[1:])
