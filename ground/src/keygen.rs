//! `dvlm-ground keygen`: keys of links, and the secret that they follow from.

use crate::arguments::KeygenArgs;
use deltavlm_node::{LinkId, MasterSecret, SharedKey};
use std::error::Error;

pub(crate) fn keygen(arguments: &KeygenArgs) -> Result<(), Box<dyn Error>> {
    let out = &arguments.out;
    if arguments.master {
        MasterSecret::generate(arguments.id)?.write(out)?;
        println!(
            "{}: master secret {}; it stays on the ground. Make the key of each board with \
             --from {0} --craft N --station N",
            out.display(),
            arguments.id
        );
        return Ok(());
    }
    let Some(master) = &arguments.from else {
        SharedKey::generate(arguments.id)?.write(out)?;
        println!(
            "{}: key {}; copy it to the board and give it to both ends",
            out.display(),
            arguments.id
        );
        return Ok(());
    };
    let link = LinkId::new(arguments.craft, arguments.station);
    let key = MasterSecret::read(master)?.key(link);
    key.write(out)?;
    println!(
        "{}: key {} of {link}; copy it to the board. The station uses {} itself",
        out.display(),
        key.id,
        master.display()
    );
    Ok(())
}
