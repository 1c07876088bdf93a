//! Reads the language-specific data area of a function: what to do when one of its calls unwinds.

use crate::{
    EhFrameError,
    reader::{PE_INDIRECT, PE_OMIT, Reader},
};

/// What a function wants when a call in it unwinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing: go on to its caller.
    Continue,
    /// Run the landing pad at this address, which drops values and resumes unwinding.
    Cleanup(usize),
    /// Unwinding ends at the landing pad at this address: a `catch`, or the call of a function that stops an unwinding
    /// where none is allowed.
    Catch(usize),
    /// The call was said not to unwind at all.
    Terminate,
}

/// Finds the action for the instruction at `pc` in the function that starts at `function`, by the table at `reader`.
pub(crate) fn find_action(
    mut reader: Reader<'_>,
    function: usize,
    pc: usize,
) -> Result<Action, EhFrameError> {
    let landing_pad_encoding = reader.u8()?;
    let landing_pads = match landing_pad_encoding {
        PE_OMIT => function,
        encoding => direct_pointer(&mut reader, encoding)?,
    };
    // The table of types tells apart what a catch catches; Rust catches everything, so it is not needed.
    if reader.u8()? != PE_OMIT {
        reader.uleb128()?;
    }
    let encoding = reader.u8()?;
    let length = reader.uleb128()? as usize;
    let actions = reader.position().saturating_add(length);
    let mut call_sites = reader.until(actions)?;
    while call_sites.remaining() > 0 {
        let start = function.wrapping_add(call_sites.encoded_number(encoding)?);
        let length = call_sites.encoded_number(encoding)?;
        let landing_pad = call_sites.encoded_number(encoding)?;
        let action = call_sites.uleb128()? as usize;
        if pc < start {
            break; // they are sorted
        }
        if pc - start >= length {
            continue;
        }
        if landing_pad == 0 {
            return Ok(Action::Continue);
        }
        let landing_pad = landing_pads.wrapping_add(landing_pad);
        let Some(action) = action.checked_sub(1) else { return Ok(Action::Cleanup(landing_pad)) };
        reader.seek(actions.saturating_add(action))?;
        return Ok(match reader.sleb128()? {
            0 => Action::Cleanup(landing_pad),
            _ => Action::Catch(landing_pad),
        });
    }
    Ok(Action::Terminate)
}

fn direct_pointer(reader: &mut Reader<'_>, encoding: u8) -> Result<usize, EhFrameError> {
    if encoding & PE_INDIRECT != 0 {
        return Err(EhFrameError::UnknownEncoding { offset: reader.position(), encoding });
    }
    reader.encoded_pointer(encoding, 0, 0)
}

#[cfg(test)]
mod tests;
