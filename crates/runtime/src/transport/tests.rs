use super::*;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use tempfile::TempDir;

fn path() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("identity.sock");
    (directory, path)
}

#[tokio::test]
async fn only_the_owner_may_connect_and_the_file_goes_with_the_socket() {
    let (_directory, path) = path();
    let socket = UnixSocket::bind(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    UnixStream::connect(&path).unwrap();
    drop(socket);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_that_a_dead_process_left_is_replaced() {
    let (_directory, path) = path();
    drop(UnixListener::bind(&path).unwrap()); // std leaves the file behind
    assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    let _socket = UnixSocket::bind(&path).unwrap();
    UnixStream::connect(&path).unwrap();
}

#[tokio::test]
async fn a_socket_that_is_alive_is_left_alone() {
    let (_directory, path) = path();
    let ours = UnixSocket::bind(&path).unwrap();
    assert!(matches!(UnixSocket::bind(&path), Err(BindError::InUse(_))));
    drop(ours);
    let foreign = UnixListener::bind(&path).unwrap(); // of a program that knows nothing of our lock
    assert!(matches!(UnixSocket::bind(&path), Err(BindError::InUse(_))));
    UnixStream::connect(&path).unwrap();
    drop(foreign);
}

#[tokio::test]
async fn what_is_not_a_socket_is_never_removed() {
    let (_directory, path) = path();
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(UnixSocket::bind(&path), Err(BindError::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    // Nor what a link points to.
    let link = path.with_extension("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(UnixSocket::bind(&link), Err(BindError::NotASocket(_))));
}

#[tokio::test]
async fn addresses_have_one_of_two_forms() {
    for (uri, good) in [
        ("http://127.0.0.1:15010", true),
        ("http://controller.fairway-system:15010", true),
        ("unix:///run/fairway/identity.sock", true),
        ("unix://run/fairway.sock", false), // a relative path in disguise
        ("unix:/run/fairway.sock", false),
        ("https://controller:15010", false),
        ("127.0.0.1:15010", false),
        ("", false),
    ] {
        assert_eq!(connect(uri).is_ok(), good, "{uri}");
    }
}
