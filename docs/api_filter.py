"""Shows a header to doxygen: its plain comments become documentation, their text stays what it is.

usage: api_filter.py HEADER
"""
import re
import sys

text = open(sys.argv[1], encoding="utf-8").read()


def escaped(comment):
    return re.sub(r"[\\@&$#<>%\"]", lambda m: "\\" + m[0], comment)


def marked(match):
    comment, start, end = match[0], match.start(), match.end()
    before = text[text.rfind("\n", 0, start) + 1:start]
    after = text[end:text.find("\n", end)]
    body = comment[2:-2]
    if start == 0:  # of the file: prose and examples, as they stand
        return "/** @file\n@verbatim\n" + re.sub(r"\n \*", "\n", body).strip() + "\n@endverbatim */"
    if "----" in comment or "#" in before or after.strip() or before.rstrip().endswith(("{", "(", ",")) and not before.strip():
        return comment
    if not before.strip():
        return "/**" + escaped(body) + "*/"
    if before.rstrip().endswith((";", ",")) or re.fullmatch(r"\s*\w+", before.rstrip()):
        return "/**<" + escaped(body) + "*/"
    return comment


sys.stdout.write(re.sub(r"/\*.*?\*/", marked, text, flags=re.S))
