//! Chunked bodies: what may stand between the chunks and what may not.

use super::{Row, row};

/// Bodies whose framing is broken; what stands before is fit.
pub(super) const BROKEN: &[Row] = &[
    row("no size", "|{B}|0||", 400),
    row("a size that is no number", "zz|{B}|0||", 400),
    row("a size with 0x", "0x{X}|{B}|0||", 400),
    row("a negative size", "-{X}|{B}|0||", 400),
    row("a size with a plus", "+{X}|{B}|0||", 400),
    row("a blank before a size", " {X}|{B}|0||", 400),
    row("a blank behind a size", "{X} |{B}|0||", 400),
    row("a tab behind a size", "{X}\t|{B}|0||", 400),
    row("a size with an underscore", "1_{X}|{B}|0||", 400),
    row("a size with a comma", "{X},{X}|{B}|0||", 400),
    row("a size of 2 to the 64th", "10000000000000000|{B}|0||", 400),
    row("a size that wraps to the right one", "100000000000000{X}|{B}|0||", 400),
    row("a size of zeros without end", "000000000000000000000{X}|{B}|0||", 400),
    row("a size that ends in a bare line feed", "{X}\n{B}|0||", 400),
    row("a size that ends in a bare carriage return", "{X}\r{B}|0||", 400),
    row("a size that ends in two carriage returns", "{X}\r|{B}|0||", 400),
    row("a size behind a NUL", "\0{X}|{B}|0||", 400),
    row("an extension with a bare line feed", "{X};a\n|{B}|0||", 400),
    row("an extension with a bare carriage return", "{X};a\rb|{B}|0||", 400),
    row("an extension with a NUL", "{X};a\0|{B}|0||", 400),
    row("an extension behind a blank", "{X} ;a=b|{B}|0||", 400),
    row(
        "an extension of a hundred bytes",
        "{X};a=0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789|{B}|0||",
        400,
    ),
    row("a chunk longer than said", "{X}|{B}xx|0||", 400),
    row("a chunk shorter than said", "{X}|{B}", 400),
    row("a chunk that ends in a bare line feed", "{X}|{B}\n0||", 400),
    row("a chunk that ends in a bare carriage return", "{X}|{B}\r0||", 400),
    row("a chunk without an end", "{X}|{B}0||", 400),
    row("a last chunk that ends in a bare line feed", "{X}|{B}|0\n|", 400),
    row("a last chunk with a carriage return too many", "{X}|{B}|0\r||", 400),
    row("a trailer that ends in a bare line feed", "{X}|{B}|0|X-A: b\n|", 400),
    row("a trailer with a NUL", "{X}|{B}|0|X-A: b\0||", 400),
    row("a trailer with a bare carriage return", "{X}|{B}|0|X-A: b\rX: c||", 400),
    row("a request behind a wrong size", "1|{B}|0||", 400),
];

/// Bodies that may come like this, whole.
pub(super) const SOUND: &[Row] = &[
    row("a size in small letters", "{X}|{B}|0||", 200),
    row("a size with zeros before it", "000{X}|{B}|0||", 200),
    row("an extension", "{X};a=b|{B}|0||", 200),
    row("an extension in quotes", "{X};a=\"b c\"|{B}|0||", 200),
    row("a last chunk of several zeros", "{X}|{B}|0000||", 200),
    row("a last chunk with an extension", "{X}|{B}|0;a||", 200),
    row("a trailer", "{X}|{B}|0|X-A: b||", 200),
    row(
        "a trailer that would change the framing",
        "{X}|{B}|0|Content-Length: 5|Transfer-Encoding: gzip||",
        200,
    ),
    row("a trailer that names a key", "{X}|{B}|0|Authorization: Bearer sk-trailer-0123456789||", 200),
];
