//! CPU features that generated code may use.

use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! features {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $text:literal;)*) => {
        impl CpuFeatures {
            $($(#[$doc])* pub const $name: CpuFeatures = CpuFeatures(1 << $bit);)*
            const NAMES: &'static [(CpuFeatures, &'static str)] = &[$((CpuFeatures::$name, $text)),*];
        }
    };
}

/// A set of x86-64 features beyond SSE2, which every x86-64 CPU has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CpuFeatures(u32);

features! {
    /// SSE3.
    SSE3 = 0, "sse3";
    /// Supplemental SSE3.
    SSSE3 = 1, "ssse3";
    /// SSE4.1.
    SSE41 = 2, "sse4.1";
    /// SSE4.2.
    SSE42 = 3, "sse4.2";
    /// The instruction `popcnt`.
    POPCNT = 4, "popcnt";
    /// The instruction `cmpxchg16b`.
    CMPXCHG16B = 5, "cmpxchg16b";
    /// AVX, with the operating system saving its state.
    AVX = 6, "avx";
    /// AVX2.
    AVX2 = 7, "avx2";
    /// Fused multiply-add.
    FMA = 8, "fma";
    /// Bit manipulation, first set.
    BMI1 = 9, "bmi1";
    /// Bit manipulation, second set.
    BMI2 = 10, "bmi2";
    /// The instruction `lzcnt`.
    LZCNT = 11, "lzcnt";
}

impl CpuFeatures {
    /// No feature: the x86-64 baseline, SSE2.
    pub const BASELINE: CpuFeatures = CpuFeatures(0);

    /// The psABI's level x86-64-v2.
    pub const X86_64_V2: CpuFeatures = CpuFeatures(
        Self::SSE3.0 | Self::SSSE3.0 | Self::SSE41.0 | Self::SSE42.0 | Self::POPCNT.0 | Self::CMPXCHG16B.0,
    );

    /// The psABI's level x86-64-v3.
    pub const X86_64_V3: CpuFeatures = CpuFeatures(
        Self::X86_64_V2.0
            | Self::AVX.0
            | Self::AVX2.0
            | Self::FMA.0
            | Self::BMI1.0
            | Self::BMI2.0
            | Self::LZCNT.0,
    );

    /// Understands what a person writes for a CPU: a level, then features more or less, for example `x86-64-v2`,
    /// `native,-avx2` or `baseline,+sse4.1,+popcnt`. Levels are `baseline`, `x86-64-v2`, `x86-64-v3`, and `native` for the CPU
    /// this runs on.
    ///
    /// A feature comes with those that no CPU has it without (`+avx2` brings `avx`), and goes with those that cannot be without
    /// it (`-avx` takes `avx2` and `fma`).
    ///
    /// # Errors
    /// When a part is not known; the error says which, and what there is.
    #[cfg(target_arch = "x86_64")]
    pub fn parse(text: &str) -> Result<CpuFeatures, UnknownCpu> {
        let unknown = |part: &str| UnknownCpu { part: part.into() };
        let mut parts = text.split(',');
        let mut features = match parts.next().unwrap_or_default() {
            "baseline" => CpuFeatures::BASELINE,
            "x86-64-v2" => CpuFeatures::X86_64_V2,
            "x86-64-v3" => CpuFeatures::X86_64_V3,
            "native" => CpuFeatures::of_this_cpu(),
            level => return Err(unknown(level)),
        };
        for part in parts {
            let feature = |name: &str| {
                let known = Self::NAMES.iter().find(|(_, known)| *known == name);
                known.map(|(feature, _)| *feature).ok_or_else(|| unknown(part))
            };
            if let Some(name) = part.strip_prefix('+') {
                features = features.union(feature(name)?.with_needed());
            } else if let Some(name) = part.strip_prefix('-') {
                let removed = feature(name)?;
                let dependent = Self::NAMES.iter().filter(|(other, _)| other.with_needed().contains(removed));
                features = dependent.fold(features, |rest, (other, _)| rest.difference(*other));
            } else {
                return Err(unknown(part));
            }
        }
        Ok(features)
    }

    /// A feature with all those that it builds on.
    const fn with_needed(self) -> CpuFeatures {
        let needed = match self {
            Self::SSSE3 => Self::SSE3,
            Self::SSE41 => Self::SSSE3,
            Self::SSE42 => Self::SSE41,
            Self::AVX => Self::SSE42,
            Self::AVX2 | Self::FMA => Self::AVX,
            _ => return self,
        };
        self.union(needed.with_needed())
    }

    /// Whether all of `other` are in `self`.
    pub const fn contains(self, other: CpuFeatures) -> bool {
        self.0 & other.0 == other.0
    }

    /// Those of `self` that are not in `other`.
    pub const fn difference(self, other: CpuFeatures) -> CpuFeatures {
        CpuFeatures(self.0 & !other.0)
    }

    /// Those of either.
    pub const fn union(self, other: CpuFeatures) -> CpuFeatures {
        CpuFeatures(self.0 | other.0)
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The features of the CPU this runs on, by CPUID; those with wide registers only if the operating system saves these
    /// (XGETBV).
    #[cfg(target_arch = "x86_64")]
    pub fn of_this_cpu() -> CpuFeatures {
        use core::arch::x86_64::{__cpuid, __cpuid_count};
        let mut found = CpuFeatures::BASELINE;
        let mut test = |register: u32, bit: u32, feature: CpuFeatures| {
            if register >> bit & 1 == 1 {
                found = found.union(feature);
            }
        };
        let highest = __cpuid(0).eax;
        let leaf1 = __cpuid(1);
        test(leaf1.ecx, 0, Self::SSE3);
        test(leaf1.ecx, 9, Self::SSSE3);
        test(leaf1.ecx, 13, Self::CMPXCHG16B);
        test(leaf1.ecx, 19, Self::SSE41);
        test(leaf1.ecx, 20, Self::SSE42);
        test(leaf1.ecx, 23, Self::POPCNT);
        let os_uses_xsave = leaf1.ecx >> 27 & 1 == 1;
        // SAFETY: XGETBV of register 0 is defined when CPUID says that the operating system has set CR4.OSXSAVE.
        let ymm_saved = os_uses_xsave && unsafe { xgetbv0() } & 0b110 == 0b110;
        let leaf7_ebx = if highest >= 7 { __cpuid_count(7, 0).ebx } else { 0 };
        test(leaf7_ebx, 3, Self::BMI1);
        test(leaf7_ebx, 8, Self::BMI2);
        if ymm_saved {
            test(leaf1.ecx, 28, Self::AVX);
            test(leaf1.ecx, 12, Self::FMA);
            test(leaf7_ebx, 5, Self::AVX2);
        }
        if __cpuid(0x8000_0000).eax >= 0x8000_0001 {
            test(__cpuid(0x8000_0001).ecx, 5, Self::LZCNT);
        }
        found
    }
}

/// Reads extended control register 0: which register states the operating system saves.
///
/// # Safety
/// CR4.OSXSAVE must be set.
#[cfg(target_arch = "x86_64")]
unsafe fn xgetbv0() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the instruction exists by the caller's promise; it changes nothing but the two registers named.
    unsafe {
        core::arch::asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

impl fmt::Display for CpuFeatures {
    /// The names, separated by commas; "baseline" when there are none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("baseline");
        }
        let mut separator = "";
        for (_, name) in Self::NAMES.iter().filter(|(feature, _)| self.contains(*feature)) {
            write!(f, "{separator}{name}")?;
            separator = ",";
        }
        let unknown = Self::NAMES.iter().fold(*self, |rest, (feature, _)| rest.difference(*feature));
        if !unknown.is_empty() {
            write!(f, "{separator}unknown features {:#x}", unknown.0)?;
        }
        Ok(())
    }
}

/// A part of the description of a CPU that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCpu {
    part: String,
}

impl fmt::Display for UnknownCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = &self.part;
        if !part.starts_with(['+', '-']) {
            let levels = "baseline, x86-64-v2, x86-64-v3 and native";
            return write!(
                f,
                "unknown CPU {part}; there are {levels}, and +FEATURE or -FEATURE after a comma"
            );
        }
        let name = &part[1..];
        write!(f, "unknown CPU feature {name}; there are")?;
        let mut separator = " ";
        for (_, name) in CpuFeatures::NAMES {
            write!(f, "{separator}{name}")?;
            separator = ", ";
        }
        Ok(())
    }
}

impl core::error::Error for UnknownCpu {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn levels_contain_each_other() {
        assert!(CpuFeatures::X86_64_V3.contains(CpuFeatures::X86_64_V2));
        assert!(!CpuFeatures::X86_64_V2.contains(CpuFeatures::X86_64_V3));
        assert_eq!(
            CpuFeatures::X86_64_V3.difference(CpuFeatures::X86_64_V2).to_string(),
            "avx,avx2,fma,bmi1,bmi2,lzcnt"
        );
        assert_eq!(CpuFeatures::BASELINE.to_string(), "baseline");
        assert_eq!(CpuFeatures(1 << 31).to_string(), "unknown features 0x80000000");
    }

    #[test]
    fn a_cpu_is_a_level_and_features_more_or_less() {
        let parse = |text| CpuFeatures::parse(text).unwrap();
        assert_eq!(parse("baseline"), CpuFeatures::BASELINE);
        assert_eq!(parse("x86-64-v2"), CpuFeatures::X86_64_V2);
        assert_eq!(parse("x86-64-v3"), CpuFeatures::X86_64_V3);
        assert_eq!(parse("native"), CpuFeatures::of_this_cpu());
        assert_eq!(parse("baseline,+popcnt").to_string(), "popcnt");
        assert_eq!(parse("baseline,+sse4.1").to_string(), "sse3,ssse3,sse4.1");
        assert_eq!(
            parse("x86-64-v2,+lzcnt,-popcnt").to_string(),
            "sse3,ssse3,sse4.1,sse4.2,cmpxchg16b,lzcnt"
        );
        assert_eq!(parse("x86-64-v3,-avx").difference(CpuFeatures::X86_64_V2).to_string(), "bmi1,bmi2,lzcnt");
        // The last one counts.
        assert_eq!(parse("baseline,+fma,-fma,-avx,-sse3"), CpuFeatures::BASELINE);
        for (feature, name) in CpuFeatures::NAMES {
            assert!(CpuFeatures::parse(&alloc::format!("baseline,+{name}")).unwrap().contains(*feature));
            assert!(!CpuFeatures::parse(&alloc::format!("x86-64-v3,-{name}")).unwrap().contains(*feature));
        }
    }

    #[test]
    fn what_is_unknown_of_a_cpu_is_named() {
        let error = |text| CpuFeatures::parse(text).unwrap_err().to_string();
        assert!(error("486").starts_with("unknown CPU 486; there are baseline, x86-64-v2,"));
        assert!(error("").starts_with("unknown CPU ;"));
        assert!(error("+avx").starts_with("unknown CPU feature avx; there are sse3, ssse3,"));
        assert!(error("native,avx2").starts_with("unknown CPU avx2; there are"));
        assert!(error("native,-avx9,+sse3").starts_with("unknown CPU feature avx9; there are sse3,"));
        assert!(error("native,").starts_with("unknown CPU ;"));
    }

    #[test]
    fn detection_agrees_with_the_standard_library() {
        let found = CpuFeatures::of_this_cpu();
        assert_eq!(found.contains(CpuFeatures::SSE41), std::is_x86_feature_detected!("sse4.1"));
        assert_eq!(found.contains(CpuFeatures::AVX2), std::is_x86_feature_detected!("avx2"));
        assert_eq!(found.contains(CpuFeatures::FMA), std::is_x86_feature_detected!("fma"));
        assert_eq!(found.contains(CpuFeatures::LZCNT), std::is_x86_feature_detected!("lzcnt"));
        assert_eq!(found.contains(CpuFeatures::BMI2), std::is_x86_feature_detected!("bmi2"));
    }
}
