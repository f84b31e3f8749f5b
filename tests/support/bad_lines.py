"""Lines that are refused, with the reason that every API gives. The rows around them are of `m,h=… f=<float>`."""

BIG = "x" * 65_536
_NOT_A_VALUE = "is not a number, boolean or quoted string"
_RESERVED = "the name is reserved; rename the"

BAD_LINES: dict[str, tuple[bytes, str]] = {
    "measurement-alone": (b"m", "missing fields"),
    "no-fields": (b"m,h=a", "missing fields"),
    "no-fields-after-space": (b"m,h=a ", "missing fields"),
    "escaped-space": (
        b"m,h=a\\ f=1",
        "missing fields: the backslash before the space escapes it; a name or tag value cannot end in a backslash",
    ),
    "no-measurement": (b",h=a f=1", "missing measurement"),
    "no-tag-key": (b"m,=a f=1", "missing tag key"),
    "no-tag-value": (b"m,h f=1", "tag 'h' has no value"),
    "empty-tag-value": (b"m,h= f=1", "tag 'h' has an empty value"),
    "no-tag-after-comma": (b"m, f=1", "missing tag after a comma"),
    "two-commas": (b"m,,h=a f=1", "missing tag after a comma"),
    "tag-twice": (b"m,h=a,h=b f=1", "tag 'h' occurs twice"),
    "equals-in-tag-value": (b"m,h=a=b f=1", "tag 'h': the value 'a=b' has an unescaped '=': write it as \\="),
    "backslash-at-end": (
        b"m,h=C:\\,u=G f=1",
        (
            "tag 'h': the value 'C:\\,u=G' has an unescaped '=': the backslash before the comma escapes it, and a tag "
            "value cannot end in a backslash; leave that backslash out or write another character for it, and write a "
            "'=' of the value as \\="
        ),
    ),
    "field-key-alone": (b"m f", "'f' is not a field: write key=value"),
    "no-field-key": (b"m =1", "missing field key"),
    "no-field-value": (b"m f=", "missing field value"),
    "no-field-after-comma": (b"m f=1,", "missing field after a comma"),
    "comma-after-comma": (b"m f=1,,g=2", "missing field after a comma"),
    "word": (b"m f=word", f"field value 'word' {_NOT_A_VALUE}"),
    "unit": (b"m f=1x", f"field value '1x' {_NOT_A_VALUE}"),
    "nan": (b"m f=nan", f"field value 'nan' {_NOT_A_VALUE}"),
    "infinity": (b"m f=-inf", f"field value '-inf' {_NOT_A_VALUE}"),
    "plus": (b"m f=+1", f"field value '+1' {_NOT_A_VALUE}"),
    "fraction-of-integer": (b"m i=1.5i", f"field value '1.5i' {_NOT_A_VALUE}"),
    "negative-unsigned": (b"m u=-1u", f"field value '-1u' {_NOT_A_VALUE}"),
    "hexadecimal": (b"m i=0x1", f"field value '0x1' {_NOT_A_VALUE}"),
    "boolean-in-odd-case": (b"m b=tRUE", f"field value 'tRUE' {_NOT_A_VALUE}"),
    "apostrophes": (b"m s='x'", f"field value ''x'' {_NOT_A_VALUE}"),
    "float-too-large": (b"m f=1e999", "field value '1e999' is out of a float's range"),
    "integer-too-large": (
        b"m i=9223372036854775808i",
        "field value '9223372036854775808' is outside -9223372036854775808..9223372036854775807",
    ),
    "unsigned-too-large": (
        b"m u=18446744073709551616u",
        "field value '18446744073709551616' is outside 0..18446744073709551615",
    ),
    "open-string": (b'm s="x', "field 's': the string has no closing quote"),
    "text-after-string": (b'm s="x"y', "field 's': 'y' after the closing quote"),
    "time-word": (b"m f=1 now", "timestamp 'now' is not a whole number"),
    "time-fraction": (b"m f=1 1.5", "timestamp '1.5' is not a whole number"),
    "time-exponent": (b"m f=1 1e9", "timestamp '1e9' is not a whole number"),
    "text-after-time": (b"m f=1 1 2", "timestamp '1 2' is not a whole number"),
    "time-out-of-range": (
        b"m f=1 9223372036854775807",
        "timestamp '9223372036854775807' is outside the years 1677 to 2262; is the precision right?",
    ),
    "time-too-long": (
        b"m f=1 " + b"9" * 30,
        f"timestamp '{'9' * 30}' is outside -9223372036854775808..9223372036854775807",
    ),
    "reserved-tag-time": (b"m,time=a f=1", f"tag 'time': {_RESERVED} tag"),
    "reserved-tag-day": (b"m,utc_day=a f=1", f"tag 'utc_day': {_RESERVED} tag"),
    "reserved-field-alone": (b"m time=1", "missing fields: the name 'time' is reserved; rename the field"),
    "tag-and-field": (b"m,x=1 x=1", "'x' is a tag and a field"),
    "integer-for-float": (b"m f=1i", "column 'f' of table 'm' is a float field, the line has an integer field"),
    "unsigned-for-float": (b"m f=1u", "column 'f' of table 'm' is a float field, the line has an unsigned field"),
    "string-for-float": (b'm f="1"', "column 'f' of table 'm' is a float field, the line has a string field"),
    "boolean-for-float": (b"m f=t", "column 'f' of table 'm' is a float field, the line has a boolean field"),
    "field-for-tag": (b"m h=1", "column 'h' of table 'm' is a tag, the line has a float field"),
    "tag-for-field": (b"m,f=1 g=1", "column 'f' of table 'm' is a float field, the line has a tag"),
    "control-in-measurement": (b"m\x01 f=1", r"measurement 'm\x01' contains the control character '\x01'"),
    "tab-in-tag-key": (b"m,k\ty=a f=1", r"tag key 'k\ty' contains the control character '\t'"),
    "control-in-field-key": (b"m f\x1f=1", r"field key 'f\x1f' contains the control character '\x1f'"),
    "nul-in-tag-value": (b"m,h=a\x00b f=1", r"tag value 'a\x00b' contains the control character '\x00'"),
    "return-in-tag-value": (b"m,h=a\rb f=1", r"tag value 'a\rb' contains the control character '\r'"),
    "latin1-measurement": (b"gr\xf6\xdfe f=1", "invalid UTF-8: byte 0xf6 in 'gr\ufffd\ufffde'"),
    "latin1-tag-value": (b"m,h=gr\xf6n f=1", "invalid UTF-8: byte 0xf6 in 'gr\ufffdn'"),
    "latin1-string": (b'm s="gr\xf6n"', "invalid UTF-8: byte 0xf6 in 'gr\ufffdn'"),
    "utf16": ("m f=1".encode("utf-16-be"), r"measurement '\x00m\x00' contains the control character '\x00'"),
    "surrogate": (b"m,h=\xed\xa0\x80 f=1", "invalid UTF-8: byte 0xed in '\ufffd\ufffd\ufffd'"),
    "long-measurement": (f"{BIG} f=1".encode(), "measurement of 65536 bytes is over 65535"),
    "long-tag-key": (f"m,{BIG}=a f=1".encode(), "tag key of 65536 bytes is over 65535"),
    "long-tag-value": (f"m,h={BIG} f=1".encode(), "tag value of 65536 bytes is over 65535"),
    "long-field-key": (f"m {BIG}=1".encode(), "field key of 65536 bytes is over 65535"),
    "long-string": (f'm s="{BIG}x"'.encode(), "field 's': string of 65537 bytes is over 65536"),
    "long-line": (b"m f=1" + b" " * 524_288, "line of 524293 bytes is over 524288"),
    "too-many-columns": (
        b"m " + b",".join(b"c%d=1" % number for number in range(999)),
        "table 'm' has 2 columns; 999 more would be over 1000",
    ),
}
"""By kind: the line, and why it is refused."""
