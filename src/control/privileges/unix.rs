//! Users and groups of POSIX. The C library makes all threads of the process change together, which the system calls alone
//! do not.

use std::ffi::CString;
use std::io;
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User, geteuid, initgroups, setgid, setuid};

use super::PrivilegesError;
use crate::config::{RunAs, Settings};

/// Whether the user and the group are known to the system.
pub(in crate::control) fn known(settings: &Settings) -> Result<(), PrivilegesError> {
    settings.run_as.as_ref().map_or(Ok(()), |run_as| find(run_as).map(|_| ()))
}

fn find(run_as: &RunAs) -> Result<(User, Gid), PrivilegesError> {
    let refused = |error: nix::Error| PrivilegesError::Refused(run_as.to_string(), error.into());
    let user = find_user(&run_as.user).map_err(refused)?;
    let user = user.ok_or_else(|| PrivilegesError::NoUser(run_as.user.clone()))?;
    let group = match &run_as.group {
        None => user.gid,
        Some(group) => {
            let found = find_group(group).map_err(refused)?;
            found.ok_or_else(|| PrivilegesError::NoGroup(group.clone()))?
        }
    };
    Ok((user, group))
}

/// Makes the process, with all of its threads, that of the user in `run_as`, with the user's groups. Root's capabilities go
/// with it. Done already where the program was started as that user. `configuration` is the file that was read.
pub(in crate::control) fn step_down(
    settings: &Settings,
    configuration: Option<&Path>,
) -> Result<(), PrivilegesError> {
    let Some(run_as) = &settings.run_as else { return Ok(()) };
    let name = run_as.to_string();
    let refused = |error: nix::Error| PrivilegesError::Refused(name.clone(), error.into());
    let (user, group) = find(run_as)?;
    if geteuid() == user.uid {
        tracing::debug!("run_as: the program was started as {name}");
        return Ok(());
    }
    if !geteuid().is_root() {
        let own = User::from_uid(geteuid()).ok().flatten().map_or(geteuid().to_string(), |own| own.name);
        return Err(PrivilegesError::NotRoot(name, own));
    }
    // Groups first: who is no longer root cannot change them.
    let named = CString::new(user.name.as_str()).map_err(|_| PrivilegesError::NoUser(run_as.user.clone()))?;
    initgroups(&named, group).map_err(refused)?;
    setgid(group).map_err(refused)?;
    setuid(user.uid).map_err(refused)?;
    tracing::info!(user = user.name, uid = user.uid.as_raw(), gid = group.as_raw(), "stepped down from root");
    look_around(settings, configuration, &name)
}

/// Whether the user can do what is needed; what can wait until somebody has put it right is a warning.
fn look_around(settings: &Settings, configuration: Option<&Path>, user: &str) -> Result<(), PrivilegesError> {
    if let Err(error) = std::fs::read_dir(&settings.media_dir) {
        return Err(PrivilegesError::Unreadable {
            user: user.to_owned(),
            setting: "media_dir",
            path: settings.media_dir.display().to_string(),
            error,
        });
    }
    for (setting, file) in [("cert_file", &settings.cert_file), ("key_file", &settings.key_file)] {
        let Some(file) = file else { continue };
        if let Err(error) = std::fs::File::open(file) {
            let file = file.display();
            tracing::warn!(
                "{setting}: {user}, whom run_as names, cannot read {file} ({error}): a renewed certificate will not be taken"
            );
        }
    }
    if let Some(file) = configuration
        && let Err(error) = std::fs::File::open(file)
    {
        let file = file.display();
        tracing::warn!(
            "run_as: {user} cannot read the configuration {file} ({error}): changes of it wait for a restart"
        );
    }
    if let Some(file) = &settings.log_file {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Err(error) = can_write(folder) {
            let folder = folder.display();
            tracing::warn!(
                "log_file: {user}, whom run_as names, cannot write to {folder} ({error}): the log will not be put aside \
                 when it is full"
            );
        }
    }
    Ok(())
}

fn can_write(folder: &Path) -> io::Result<()> {
    Ok(nix::unistd::access(folder, nix::unistd::AccessFlags::W_OK)?)
}

/// A user by name or number.
fn find_user(text: &str) -> nix::Result<Option<User>> {
    match User::from_name(text)? {
        Some(user) => Ok(Some(user)),
        None => text.parse().map_or(Ok(None), |number| User::from_uid(Uid::from_raw(number))),
    }
}

/// A group by name or number.
fn find_group(text: &str) -> nix::Result<Option<Gid>> {
    match Group::from_name(text)? {
        Some(group) => Ok(Some(group.gid)),
        None => Ok(text.parse().ok().map(Gid::from_raw)),
    }
}
