//! Programs of this machine that come by the socket of `api_socket`: whom the system has let open it may do all.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot::Receiver;

use super::gate::Client;
use super::pipe::Parting;
use super::serve::{Place, TOO_MANY, converse, router};
use super::state::App;
use crate::control::socket::{Connection, Socket};

/// Programs that are served at once; one more is answered with 503.
const CONNECTIONS_MAX: usize = 64;

/// How long it takes to try again where the system has no descriptor for a connection.
const AGAIN: Duration = Duration::from_millis(200);

/// Serves those who come by a socket, once there is one, until the program ends.
pub(super) async fn serve(app: Arc<App>, opened: Receiver<Socket>) {
    let Ok(socket) = opened.await else { return };
    let socket = match socket.begin() {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, "api_socket cannot be served"),
    };
    let router = router(&app);
    loop {
        match socket.accept().await {
            Ok(connection) => match Place::take(&app.socket_connections, CONNECTIONS_MAX) {
                Some(place) => {
                    let router = router.clone();
                    tokio::spawn(async move {
                        let _place = place;
                        if let Err(error) =
                            converse(router, Client::of_socket(), Parting::untold(), connection).await
                        {
                            tracing::debug!(%error, "control connection of api_socket ended");
                        }
                    });
                }
                None => refuse(connection),
            },
            Err(error) => {
                tracing::warn!(%error, "api_socket: a program cannot be let in");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Says that there are too many; whoever does not read is not waited for.
fn refuse(mut connection: Connection) {
    let said = async move {
        connection.write_all(TOO_MANY).await?;
        connection.shutdown().await?;
        // What was asked is heard to its end: else the answer would be lost with it.
        while connection.read(&mut [0; 1024]).await? > 0 {}
        std::io::Result::Ok(())
    };
    tokio::spawn(tokio::time::timeout(AGAIN, said));
}
