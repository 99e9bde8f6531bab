//! The command line: a face that parses, asks, calls and prints.

pub mod init;
pub mod keys;
pub mod output;
pub mod password;
