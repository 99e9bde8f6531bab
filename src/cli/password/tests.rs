use std::fs::{self, Permissions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

use clap::Parser;
use tempfile::TempDir;

use super::*;

/// A person who types these lines and then is gone.
pub(crate) struct Typing<'a> {
    lines: &'a [&'a str],
    pub(crate) asked: Vec<String>,
}

pub(crate) const fn typing<'a>(lines: &'a [&'a str]) -> Typing<'a> {
    Typing { lines, asked: Vec::new() }
}

impl Prompt for Typing<'_> {
    fn ask(&mut self, prompt: &str) -> io::Result<Zeroizing<String>> {
        self.asked.push(prompt.to_owned());
        let (line, rest) = self.lines.split_first().ok_or_else(|| io::Error::other("no such device"))?;
        self.lines = rest;
        Ok(Zeroizing::new((*line).to_owned()))
    }
}

struct Fails(io::ErrorKind);

impl Prompt for Fails {
    fn ask(&mut self, _: &str) -> io::Result<Zeroizing<String>> {
        Err(self.0.into())
    }
}

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    present: PasswordArgs,
    #[command(flatten)]
    new: NewPasswordArgs,
}

fn file(folder: &TempDir, content: &[u8], mode: u32) -> PathBuf {
    let path = folder.path().join("password");
    let _ = fs::remove_file(&path);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

fn text(password: Result<Password, PasswordSourceError>) -> String {
    String::from_utf8(password.unwrap().as_bytes().to_vec()).unwrap()
}

fn of_file(path: PathBuf) -> Result<Password, PasswordSourceError> {
    PasswordArgs { password_file: Some(path), password_fd: None }.source().present(&mut typing(&[]))
}

fn of_descriptor(descriptor: u32) -> Result<Password, PasswordSourceError> {
    PasswordArgs { password_file: None, password_fd: Some(descriptor) }.source().new_one(&mut typing(&[]))
}

fn number(file: &impl AsRawFd) -> u32 {
    u32::try_from(file.as_raw_fd()).unwrap()
}

#[test]
fn a_file_gives_its_first_line() {
    let folder = TempDir::new().unwrap();
    let longest = "x".repeat(1024);
    let cases = [
        ("correct horse", "correct horse"),
        ("correct horse\n", "correct horse"),
        ("correct horse\r\n", "correct horse"),
        ("correct horse\nanother line\n", "correct horse"),
        ("  spaces count  \n", "  spaces count  "),
        ("žluťoučký kůň\n", "žluťoučký kůň"),
        (&format!("{longest}\r\nmore"), &longest),
    ];
    for (content, expected) in cases {
        assert_eq!(text(of_file(file(&folder, content.as_bytes(), 0o600))), expected, "{content:?}");
    }
    assert_eq!(text(of_file(file(&folder, b"read only", 0o400))), "read only");
}

#[test]
fn what_is_no_password_is_refused() {
    let folder = TempDir::new().unwrap();
    let short = [&b""[..], b"\n", b"\nsecond line\n", b"1234567\n", b"1234567\r\n"];
    for content in short {
        let error = of_file(file(&folder, content, 0o600)).unwrap_err();
        assert!(matches!(error, PasswordSourceError::Password(PasswordError::TooShort)), "{error}");
    }
    for content in ["x".repeat(1025), "x".repeat(100_000), "ž".repeat(1_000)] {
        let error = of_file(file(&folder, content.as_bytes(), 0o600)).unwrap_err();
        assert!(matches!(error, PasswordSourceError::Password(PasswordError::TooLong)), "{error}");
    }
    let error = of_file(file(&folder, b"\xff\xfe\xff\xfe\xff\xfe\xff\xfe\n", 0o600)).unwrap_err();
    assert!(matches!(error, PasswordSourceError::NotText), "{error}");
}

#[test]
fn a_file_that_others_may_read_or_change_is_refused_with_the_remedy() {
    let folder = TempDir::new().unwrap();
    for open in [0o640, 0o604, 0o620, 0o602, 0o644, 0o666] {
        let path = file(&folder, b"correct horse", open);
        let error = of_file(path.clone()).unwrap_err();
        assert!(matches!(error, PasswordSourceError::TooOpen { mode, .. } if mode == open), "{error}");
        assert!(error.to_string().contains(&format!("`chmod 600 '{}'`", path.display())), "{error}");
    }
}

#[test]
fn a_file_must_be_one() {
    let folder = TempDir::new().unwrap();
    let error = of_file(folder.path().join("none")).unwrap_err();
    assert!(matches!(error, PasswordSourceError::File { .. }) && error.to_string().contains("none"), "{error}");
    for other in [folder.path(), Path::new("/dev/zero")] {
        assert!(matches!(of_file(other.to_owned()), Err(PasswordSourceError::NotAFile { .. })), "{other:?}");
    }
}

#[test]
fn a_named_pipe_is_read_until_the_line_ends() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("pipe");
    assert!(Command::new("mkfifo").args(["-m", "600"]).arg(&path).status().unwrap().success());
    // Stays open behind the line, for reading too, so that opening it does not wait.
    let mut writer = File::options().read(true).write(true).open(&path).unwrap();
    writer.write_all(b"correct horse\n").unwrap();
    assert_eq!(text(of_file(path)), "correct horse");
}

#[test]
fn a_descriptor_gives_its_first_line() {
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"correct ").unwrap();
    writer.write_all(b"horse\n").unwrap();
    assert_eq!(text(of_descriptor(number(&reader))), "correct horse");

    let folder = TempDir::new().unwrap();
    let open = File::open(file(&folder, b"from a file\n", 0o600)).unwrap();
    assert_eq!(text(of_descriptor(number(&open))), "from a file");
}

#[test]
fn a_descriptor_that_cannot_be_read_is_named() {
    let (socket, _other) = UnixStream::pair().unwrap();
    for descriptor in [number(&socket), 987_654, u32::MAX] {
        let error = of_descriptor(descriptor).unwrap_err();
        assert!(matches!(error, PasswordSourceError::Descriptor { .. }), "{error}");
        assert!(error.to_string().contains(&format!("descriptor {descriptor}: ")), "{error}");
    }
}

#[test]
fn a_person_is_asked_once_for_the_present_password_and_twice_for_a_new_one() {
    let source = PasswordArgs::default().source();
    let mut person = typing(&["correct horse"]);
    assert_eq!(text(source.present(&mut person)), "correct horse");
    assert_eq!(person.asked, ["Password of the key: "]);

    let mut person = typing(&["correct horse", "correct horse"]);
    assert_eq!(text(source.new_one(&mut person)), "correct horse");
    assert_eq!(person.asked, ["New password for the key: ", "The same again: "]);

    for second in ["correct horsf", "", "correct horse "] {
        let error = source.new_one(&mut typing(&["correct horse", second])).unwrap_err();
        assert!(matches!(error, PasswordSourceError::Differ), "{error}");
    }
    let mut person = typing(&["short", "short"]);
    assert!(source.new_one(&mut person).is_err());
    assert_eq!(person.asked.len(), 1, "a password that is too short is not asked for again");
}

#[test]
fn without_a_terminal_the_error_says_what_to_give() {
    let present = PasswordArgs::default();
    let error = present.source().present(&mut typing(&[])).unwrap_err().to_string();
    assert!(
        error.contains("no terminal") && error.ends_with("give --password-file FILE or --password-fd N"),
        "{error}"
    );
    let new = NewPasswordArgs::default().source(&present).unwrap();
    let error = new.new_one(&mut Fails(io::ErrorKind::NotFound)).unwrap_err().to_string();
    assert!(error.ends_with("give --new-password-file FILE or --new-password-fd N"), "{error}");
    for left in [io::ErrorKind::Interrupted, io::ErrorKind::UnexpectedEof] {
        assert!(matches!(new.new_one(&mut Fails(left)), Err(PasswordSourceError::GivenUp)));
    }
}

#[test]
fn the_line_takes_one_place_for_each_password_and_never_the_password() {
    let line = Line::try_parse_from(["lbm", "--password-file", "a", "--new-password-fd", "3"]).unwrap();
    assert!(line.present.is_given());
    assert_eq!(line.present.source().place, Place::File("a".into()));
    assert_eq!(line.new.source(&line.present).unwrap().place, Place::Descriptor(3));
    for wrong in [
        &["lbm", "--password-file", "a", "--password-fd", "3"][..],
        &["lbm", "--new-password-file", "a", "--new-password-fd", "3"],
        &["lbm", "--password-fd", "-1"],
        &["lbm", "--password", "correct horse"],
    ] {
        assert!(Line::try_parse_from(wrong).is_err(), "{wrong:?}");
    }
    let line = Line::try_parse_from(["lbm", "--password-fd", "3", "--new-password-fd", "3"]).unwrap();
    assert!(matches!(line.new.source(&line.present), Err(PasswordSourceError::SameDescriptor { descriptor: 3 })));
    assert!(!Line::try_parse_from(["lbm"]).unwrap().present.is_given());
}

#[test]
fn no_error_repeats_what_was_read() {
    let folder = TempDir::new().unwrap();
    for content in [&b"secret\n"[..], b"secret\xff secret\n", &b"secret".repeat(500)] {
        let error = of_file(file(&folder, content, 0o600)).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}
