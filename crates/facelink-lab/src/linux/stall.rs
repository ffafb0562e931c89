use super::Res;
#[derive(clap::Args)]
pub struct Args {}
pub fn run(_: &Args) -> Res<()> { Ok(()) }
