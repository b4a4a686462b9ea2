//! The service: what its manager is told of the program, and the program of its manager.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf, absolute};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use windows_service::service::{
    ServiceAccess, ServiceControl, ServiceControlAccept, ServiceErrorControl, ServiceExitCode, ServiceInfo,
    ServiceStartType, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_service::{define_windows_service, service_dispatcher};

use crate::cli::args::{Install, Serve, Service};
use crate::cli::pid_file::PidFile;
use crate::cli::serve::{Panics, run as serve_until_told};
use crate::cli::{Failure, say};
use crate::config;
use crate::control::signals::{Signal, told};

/// What Windows calls it.
const NAME: &str = "rtspserver";

/// What people read in its list.
const TITLE: &str = "Ringcaster RTSP server";

/// How long its start may take before its manager gives it up.
const START_WITHIN: Duration = Duration::from_secs(30);

/// How long its end may take: `uninstall` waits so long.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// Code of Windows for: the program was not started by the service manager.
const NOT_STARTED_BY_MANAGER: i32 = 1063;

/// Codes of Windows for an account, a kind of path, or a service that is not there.
const ACCESS_DENIED: i32 = 5;
const SERVICE_NOT_THERE: i32 = 1060;
const SERVICE_NOT_RUNNING: i32 = 1062;

/// Installs, removes or is the service.
pub(crate) fn service(service: &Service) -> Result<(), Failure> {
    match service {
        Service::Install(options) => install(options),
        Service::Uninstall => uninstall(),
        Service::Run(options) => run(options),
    }
}

fn install(options: &Install) -> Result<(), Failure> {
    let serve = &options.serve;
    if serve.daemon || serve.pid_file.is_some() {
        return Err(Failure::Other(
            "a service has no use for --daemon and --pid-file: leave them out".into(),
        ));
    }
    // What is wrong with the configuration is said here, where somebody reads it.
    let loaded = config::load(serve.file.config.as_deref(), &serve.overrides())?;
    let program = std::env::current_exe()
        .map_err(|error| Failure::Other(format!("the program's own file cannot be found: {error}")))?;
    let log_file = loaded.settings.log_file.clone().map_or_else(
        || beside(loaded.file.as_deref(), &program).map(|folder| folder.join("rtspserver.log")),
        |file| whole(&file),
    )?;
    let arguments =
        arguments(serve, loaded.file.as_deref(), &loaded.settings.media_dir, log_file.as_os_str())?;
    let manager = manager(ServiceManagerAccess::CREATE_SERVICE)?;
    let info = ServiceInfo {
        name: NAME.into(),
        display_name: TITLE.into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: program,
        launch_arguments: arguments,
        dependencies: Vec::new(),
        account_name: Some(OsString::from(&options.account)),
        account_password: None,
    };
    let refused = |error| refused("installed", &error);
    let service = manager.create_service(&info, ServiceAccess::CHANGE_CONFIG).map_err(refused)?;
    // One without a description serves as well.
    let _ = service.set_description("Streams files, devices and published media to RTSP players");
    say(&format!(
        "the service {NAME} is installed and runs as {} from the next start of Windows on, or from `net start {NAME}`; \
         its log is {}\n",
        options.account,
        log_file.display()
    ));
    Ok(())
}

/// What the manager starts the program with: whole paths, since it starts it in a folder of its own.
fn arguments(
    serve: &Serve,
    file: Option<&Path>,
    media_dir: &Path,
    log_file: &OsStr,
) -> Result<Vec<OsString>, Failure> {
    let mut words: Vec<OsString> = vec!["service".into(), "run".into(), "--log-file".into(), log_file.into()];
    if let Some(file) = file {
        words.extend(["--config".into(), whole(file)?.into()]);
    }
    for (key, text) in serve.overrides().command_line {
        match key {
            "backend" => words.extend(["--backend".into(), text.into()]),
            "shards" => words.extend(["--shards".into(), text.into()]),
            "log_format" => words.extend(["--log-format".into(), text.into()]),
            _ => {}
        }
    }
    // Without a file nothing else tells where the media are.
    let dir = serve.dir.as_deref().or_else(|| file.is_none().then_some(media_dir));
    if let Some(dir) = dir {
        words.extend(["--".into(), whole(dir)?.into()]);
    }
    Ok(words)
}

fn uninstall() -> Result<(), Failure> {
    let refused = |error| refused("removed", &error);
    let manager = manager(ServiceManagerAccess::CONNECT)?;
    let access = ServiceAccess::QUERY_STATUS | ServiceAccess::STOP | ServiceAccess::DELETE;
    let service = manager.open_service(NAME, access).map_err(refused)?;
    match service.stop() {
        Ok(_) => {
            let until = Instant::now() + STOP_WITHIN;
            while service.query_status().map_err(refused)?.current_state != ServiceState::Stopped
                && Instant::now() < until
            {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Err(windows_service::Error::Winapi(error)) if error.raw_os_error() == Some(SERVICE_NOT_RUNNING) => {}
        Err(error) => return Err(refused(error)),
    }
    service.delete().map_err(refused)?;
    say(&format!("the service {NAME} is removed\n"));
    Ok(())
}

/// What `service run` was called with: the manager calls the service without it.
static OPTIONS: OnceLock<Serve> = OnceLock::new();

/// Whom the manager is told of its state by, once it is registered.
static STATUS: OnceLock<ServiceStatusHandle> = OnceLock::new();

/// What the service ended with, for the program's exit code.
static ENDED: Mutex<Option<Failure>> = Mutex::new(None);

fn run(options: &Serve) -> Result<(), Failure> {
    // It is called once a process.
    let _ = OPTIONS.set(options.clone());
    service_dispatcher::start(NAME, service_main).map_err(|error| match error {
        windows_service::Error::Winapi(error) if error.raw_os_error() == Some(NOT_STARTED_BY_MANAGER) => {
            let sentence = "only Windows itself starts the service: use `net start rtspserver`, or \
                            `rtspserver serve` to serve from here";
            Failure::Other(sentence.to_owned())
        }
        error => refused("run", &error),
    })?;
    ENDED.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
}

define_windows_service!(service_main, serve);

/// The service, from its start by the manager to its end.
fn serve(_: Vec<OsString>) {
    let Some(options) = OPTIONS.get() else { return };
    let (teller, signals) = told();
    let handler = move |control| match control {
        ServiceControl::Stop | ServiceControl::Shutdown => {
            // Who has asked for it waits as long as this is said.
            STATUS.get().inspect(|status| tell(**status, ServiceState::StopPending, 0));
            teller.tell(Signal::Stop);
            ServiceControlHandlerResult::NoError
        }
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        _ => ServiceControlHandlerResult::NotImplemented,
    };
    let Ok(status) = service_control_handler::register(NAME, handler) else { return };
    let status = *STATUS.get_or_init(|| status);
    tell(status, ServiceState::StartPending, 0);
    let served = config::load(options.file.config.as_deref(), &options.overrides())
        .map_err(Failure::from)
        .and_then(|loaded| {
            let _pid_file = options.pid_file.as_deref().map(PidFile::take).transpose()?;
            serve_until_told(
                options,
                loaded,
                Panics::Logged,
                || Ok(signals),
                |_, _| {
                    tell(status, ServiceState::Running, 0);
                },
            )
        });
    let code = u32::from(served.is_err());
    *ENDED.lock().unwrap_or_else(PoisonError::into_inner) = served.err();
    tell(status, ServiceState::Stopped, code);
}

/// Tells the manager how things stand; it learns of a lost word from the end of the process.
fn tell(status: ServiceStatusHandle, state: ServiceState, code: u32) {
    let accepted = match state {
        ServiceState::Running => ServiceControlAccept::STOP | ServiceControlAccept::SHUTDOWN,
        _ => ServiceControlAccept::empty(),
    };
    let exit_code = match code {
        0 => ServiceExitCode::NO_ERROR,
        code => ServiceExitCode::ServiceSpecific(code),
    };
    let wait_hint = match state {
        ServiceState::StartPending => START_WITHIN,
        ServiceState::StopPending => STOP_WITHIN,
        _ => Duration::ZERO,
    };
    let _ = status.set_service_status(ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted: accepted,
        exit_code,
        checkpoint: 0,
        wait_hint,
        process_id: None,
    });
}

fn manager(access: ServiceManagerAccess) -> Result<ServiceManager, Failure> {
    ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT | access)
        .map_err(|error| refused("reached", &error))
}

fn refused(what: &str, error: &windows_service::Error) -> Failure {
    let code = match error {
        windows_service::Error::Winapi(error) => error.raw_os_error(),
        _ => None,
    };
    Failure::Other(match code {
        Some(ACCESS_DENIED) => {
            format!("the service {NAME} cannot be {what}: start this as administrator")
        }
        Some(SERVICE_NOT_THERE) => format!("there is no service {NAME}: it is not installed"),
        _ => format!("the service {NAME} cannot be {what}: {error}"),
    })
}

/// The folder of the configuration, else that of the program.
fn beside(file: Option<&Path>, program: &Path) -> Result<PathBuf, Failure> {
    let file = whole(file.unwrap_or(program))?;
    Ok(file.parent().map_or_else(PathBuf::new, Path::to_owned))
}

/// A path from its drive on.
fn whole(path: &Path) -> Result<PathBuf, Failure> {
    absolute(path).map_err(|error| Failure::Other(format!("{} is no path: {error}", path.display())))
}
