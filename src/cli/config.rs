//! What the admin has configured for the bus of a command.

use super::connect::Bus;
use super::setting::Setting;
use crate::settings::{BusSettings, Settings};
use crate::standalone::folder::read::SETTINGS_FILE;
use anyhow::Context as _;
use std::path::PathBuf;

/// Where the settings are.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Settings of the buses (posthorn.yaml) [default: those of the running standalone, else one bus, `default`]
    #[arg(long, env = "POSTHORN_CONFIG", value_name = "FILE", default_value = "", hide_default_value = true)]
    config: Setting<PathBuf>,
}

impl Config {
    /// The settings of the bus; the default ones where nothing is known.
    ///
    /// # Errors
    /// If the file cannot be read, is wrong, or does not have the bus.
    pub fn of(&self, bus: &Bus) -> anyhow::Result<BusSettings> {
        let of_standalone = || bus.folder.as_ref().map(|folder| folder.join(SETTINGS_FILE)).filter(|file| file.is_file());
        let settings = match self.config.0.clone().or_else(of_standalone) {
            Some(file) => Settings::read(&file)?,
            None => return Ok(BusSettings::default()),
        };
        let known = || settings.buses.keys().cloned().collect::<Vec<_>>().join(", ");
        let found =
            settings.buses.get(&bus.name).with_context(|| format!("there is no bus {}; the settings have {}", bus.name, known()))?;
        Ok(found.clone())
    }
}
