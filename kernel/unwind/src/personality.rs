//! The personality routine: what the unwinder asks at each frame of a Rust function.

use unwinding::abi::{
    _Unwind_GetIPInfo, _Unwind_GetLanguageSpecificData, _Unwind_GetRegionStart, _Unwind_SetGR, _Unwind_SetIP,
    UnwindAction, UnwindContext, UnwindException, UnwindReasonCode,
};

use crate::{
    exception::FAULT_CLASS,
    lsda::{Action, find_action},
    reader::Reader,
};

/// DWARF numbers of the registers in which a landing pad expects the exception and the selector of the catch.
const RAX: i32 = 0;
const RDX: i32 = 1;

/// Says, of the frame `context`, whether it catches `exception` (search phase), or where its landing pad is (cleanup).
///
/// # Safety
/// Only the unwinder calls it, with a frame whose tables name this routine, that is, with an LSDA as rustc makes them.
#[lang = "eh_personality"]
unsafe extern "C" fn rust_eh_personality(
    version: i32,
    actions: UnwindAction,
    exception_class: u64,
    exception: *mut UnwindException,
    context: &mut UnwindContext<'_>,
) -> UnwindReasonCode {
    let searching = actions.contains(UnwindAction::SEARCH_PHASE);
    let error =
        if searching { UnwindReasonCode::FATAL_PHASE1_ERROR } else { UnwindReasonCode::FATAL_PHASE2_ERROR };
    if version != 1 {
        return error;
    }
    let lsda = _Unwind_GetLanguageSpecificData(context) as usize;
    if lsda == 0 {
        return UnwindReasonCode::CONTINUE_UNWIND;
    }
    let mut interrupted = 0;
    let pc = _Unwind_GetIPInfo(context, &mut interrupted);
    if interrupted != 0 {
        // A fault, not a call: values may be anywhere, so no landing pad of this frame can run.
        return UnwindReasonCode::CONTINUE_UNWIND;
    }
    // The call's last byte: the return address may already belong to what follows it.
    let pc = pc.wrapping_sub(1);
    // SAFETY: this frame's function is on the stack, hence its crate mapped; rustc made the table, which delimits itself.
    let table = unsafe { Reader::from_raw(lsda) };
    match find_action(table, _Unwind_GetRegionStart(context), pc) {
        Ok(Action::Continue) => UnwindReasonCode::CONTINUE_UNWIND,
        Ok(Action::Cleanup(_)) if searching => UnwindReasonCode::CONTINUE_UNWIND,
        Ok(Action::Catch(_)) if searching => UnwindReasonCode::HANDLER_FOUND,
        Ok(Action::Cleanup(landing_pad) | Action::Catch(landing_pad)) => {
            _Unwind_SetGR(context, RAX, exception as usize);
            _Unwind_SetGR(context, RDX, 0);
            _Unwind_SetIP(context, landing_pad);
            UnwindReasonCode::INSTALL_CONTEXT
        }
        // The compiler took it that this call does not unwind. It does, if what it called has faulted.
        Ok(Action::Terminate) if exception_class == FAULT_CLASS => UnwindReasonCode::CONTINUE_UNWIND,
        Ok(Action::Terminate) | Err(_) => error,
    }
}
