use std::fmt::Write as _;

use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};

/// The algorithm that a server asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Algorithm {
    function: Function,
    /// The `-sess` variant: both nonces are part of the first hash.
    pub(super) session: bool,
    /// The name as it is registered. Many devices write `md5`.
    pub(super) name: &'static str,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Function {
    Md5,
    Sha256,
    Sha512_256,
}

/// The default, where the challenge names no algorithm.
pub(super) const MD5: Algorithm = algorithm(Function::Md5, false, "MD5");

const ALL: [Algorithm; 6] = [
    MD5,
    algorithm(Function::Md5, true, "MD5-sess"),
    algorithm(Function::Sha256, false, "SHA-256"),
    algorithm(Function::Sha256, true, "SHA-256-sess"),
    algorithm(Function::Sha512_256, false, "SHA-512-256"),
    algorithm(Function::Sha512_256, true, "SHA-512-256-sess"),
];

const fn algorithm(function: Function, session: bool, name: &'static str) -> Algorithm {
    Algorithm {
        function,
        session,
        name,
    }
}

impl Algorithm {
    /// Finds the algorithm of this name, in any case.
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        let mut all = ALL.into_iter();
        all.find(|it| it.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Hashes the parts, joined by colons, into hexadecimal digits.
    pub(super) fn hash(self, parts: &[&[u8]]) -> String {
        let text = parts.join(&b':');
        match self.function {
            Function::Md5 => hexadecimal(&Md5::digest(text)),
            Function::Sha256 => hexadecimal(&Sha256::digest(text)),
            Function::Sha512_256 => hexadecimal(&Sha512_256::digest(text)),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        _ = write!(text, "{byte:02x}");
    }
    text
}
