//! Sound devices of Windows (WASAPI): their names, and samples as this program has them.

use wasapi::{
    AudioClient, Device, DeviceEnumerator, Direction, SampleType, StreamMode, WasapiError, WaveFormat,
    initialize_mta,
};

use crate::media::playback::{CHANNELS, SAMPLE_RATE};

/// Sound that waits in the system, in units of 100 ns: 200 ms.
const BUFFER_HNS: i64 = 2_000_000;

/// Bytes of one moment: 16 bits of each channel.
pub(super) const BYTES_A_MOMENT: usize = 2 * CHANNELS as usize;

/// Opens a device by its name, empty for the system's own choice; Windows brings its samples to those of this program.
pub(super) fn open(direction: Direction, name: &str) -> Result<AudioClient, WasapiError> {
    start_com()?;
    let devices = DeviceEnumerator::new()?;
    let device = match name {
        "" => devices.get_default_device(&direction)?,
        name => devices.get_device_collection(&direction)?.get_device_with_name(name)?,
    };
    let mut client = device.get_iaudioclient()?;
    let (bits, rate, channels) = (16, SAMPLE_RATE as usize, usize::from(CHANNELS));
    let format = WaveFormat::new(bits, bits, &SampleType::Int, rate, channels, None);
    let mode = StreamMode::PollingShared { autoconvert: true, buffer_duration_hns: BUFFER_HNS };
    client.initialize_client(&format, &direction, &mode)?;
    Ok(client)
}

/// Names of all, and what they are connected to.
pub(super) fn list(direction: Direction) -> Result<Vec<(String, String)>, WasapiError> {
    start_com()?;
    let devices = DeviceEnumerator::new()?.get_device_collection(&direction)?;
    let named = |device: Device| Ok((device.get_friendlyname()?, device.get_interface_friendlyname()?));
    (0..devices.get_nbr_devices()?).map(|index| named(devices.get_device_at_index(index)?)).collect()
}

/// Lets the calling thread use COM, which every thread has to ask for.
fn start_com() -> Result<(), WasapiError> {
    initialize_mta().ok().map_err(WasapiError::from)
}
