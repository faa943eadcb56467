//! Reads the lines of a file or of standard input.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use crate::failure::Failure;

type Lines = Box<dyn Iterator<Item = io::Result<String>>>;

/// Opens a file; returns its lines, and its length if that is known.
pub(crate) fn open(path: &Path) -> Result<(Lines, Option<u64>), Failure> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(io::stdin().lines()), None));
    }
    let file = File::open(path).map_err(|error| Failure::because(&format!("cannot read {}", path.display()), error))?;
    let length = file.metadata().ok().map(|metadata| metadata.len());
    Ok((Box::new(BufReader::new(file).lines()), length))
}
