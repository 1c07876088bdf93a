//! A device's registers.

use crate::queue::Queue;
use crate::{VENDOR_ID, VirtioError, event};
use memory::MappedPages;
use pci::PciDevice;

/// The kind of capability that says where registers are, and which registers: 4.1.4.
const CAPABILITY_VENDOR: u8 = 0x09;
const COMMON: u8 = 1;
const NOTIFY: u8 = 2;
const DEVICE: u8 = 4;

/// The first device number of version 1; the kind is added to it.
const FIRST_DEVICE_ID: u16 = 0x1040;
/// Kinds, and the device numbers that they have if the device also speaks the older protocol.
const TRANSITIONAL: [(u16, u16); 2] = [(0x1001, 2), (0x1009, 9)];

/// Common configuration: 4.1.4.3.
mod common {
    pub const DEVICE_FEATURE_SELECT: usize = 0;
    pub const DEVICE_FEATURE: usize = 4;
    pub const DRIVER_FEATURE_SELECT: usize = 8;
    pub const DRIVER_FEATURE: usize = 12;
    pub const CONFIG_VECTOR: usize = 16;
    pub const STATUS: usize = 20;
    pub const QUEUE_SELECT: usize = 22;
    pub const QUEUE_SIZE: usize = 24;
    pub const QUEUE_VECTOR: usize = 26;
    pub const QUEUE_ENABLE: usize = 28;
    pub const QUEUE_NOTIFY_OFF: usize = 30;
    pub const QUEUE_DESCRIPTORS: usize = 32;
    pub const QUEUE_DRIVER: usize = 40;
    pub const QUEUE_DEVICE: usize = 48;
    pub const LENGTH: usize = 56;
}

/// The device's status: 2.1.
const ACKNOWLEDGE: u8 = 1;
const DRIVER: u8 = 2;
const DRIVER_OK: u8 = 4;
const FEATURES_OK: u8 = 8;
const NEEDS_RESET: u8 = 64;
/// What is read where no device is any more.
const GONE: u8 = 0xFF;

/// The device keeps to version 1 of the specification.
const VERSION_1: u64 = 1 << 32;
const NO_VECTOR: u16 = 0xFFFF;

/// How often a reset is looked at before the device counts as silent. Each look is an access to the device, a microsecond at least.
const RESET_LOOKS: usize = 1_000_000;

/// Registers in a base address register's memory.
#[derive(Clone, Copy)]
struct Region {
    bar: u8,
    offset: usize,
    length: usize,
}

/// A device.
pub struct VirtioDevice {
    pci: PciDevice,
    kind: u16,
    bars: [Option<MappedPages>; 6],
    common: Region,
    notify: Region,
    notify_multiplier: usize,
    config: Option<Region>,
}

/// Integers that registers have.
pub trait Register: Copy {}
impl Register for u8 {}
impl Register for u16 {}
impl Register for u32 {}

impl VirtioDevice {
    /// What kind of virtio device this is (2: block device, 9: 9P transport); `None` if it is none.
    pub fn kind_of(pci: &PciDevice) -> Option<u16> {
        if pci.vendor_id != VENDOR_ID {
            return None;
        }
        let transitional = TRANSITIONAL.iter().find(|(id, _)| *id == pci.device_id).map(|(_, kind)| *kind);
        transitional.or(pci.device_id.checked_sub(FIRST_DEVICE_ID))
    }

    /// Finds and maps the registers of a device, and resets it.
    ///
    /// # Errors
    /// See [`VirtioError`].
    pub fn new(pci: PciDevice) -> Result<Self, VirtioError> {
        let kind = Self::kind_of(&pci).ok_or(VirtioError::NotVersion1)?;
        let mut regions = [None; 5];
        let mut notify_multiplier = 0;
        for capability in pci.capabilities().filter(|capability| capability.id == CAPABILITY_VENDOR) {
            let read = |offset| pci.location.pci_read_32(capability.offset.saturating_add(offset));
            let which = (read(0) >> 24) as u8;
            let region = Region { bar: read(4) as u8, offset: read(8) as usize, length: read(12) as usize };
            if which == NOTIFY {
                notify_multiplier = read(16) as usize;
            }
            if let Some(slot) = regions.get_mut(usize::from(which)) {
                slot.get_or_insert(region);
            }
        }
        let [_, Some(common), Some(notify), _, config] = regions else {
            return Err(VirtioError::NotVersion1);
        };
        debug_assert!((COMMON, DEVICE) == (1, 4));
        let mut device =
            Self { pci, kind, bars: [const { None }; 6], common, notify, notify_multiplier, config };
        for region in [Some(common), Some(notify), config].into_iter().flatten() {
            device.map(region)?;
        }
        if common.length < common::LENGTH || !common.offset.is_multiple_of(4) {
            return Err(VirtioError::NotVersion1);
        }
        pci.pci_set_command_bus_master_bit();
        if device.reset() { Ok(device) } else { Err(VirtioError::Silent) }
    }

    /// What kind of device it is.
    pub fn kind(&self) -> u16 {
        self.kind
    }

    /// Maps the memory that a region is in, unless it is mapped, and checks that the region is within.
    fn map(&mut self, region: Region) -> Result<(), VirtioError> {
        let slot = self.bars.get_mut(usize::from(region.bar)).ok_or(VirtioError::NotVersion1)?;
        if slot.is_none() {
            *slot = Some(self.pci.map_bar(region.bar)?);
        }
        let size = slot.as_ref().map_or(0, |mapping| mapping.size_in_bytes());
        match region.offset.checked_add(region.length) {
            Some(end) if end <= size => Ok(()),
            _ => Err(VirtioError::NotVersion1),
        }
    }

    /// The address of a register, if it is within its region and aligned.
    fn register<T: Register>(&self, region: Region, offset: usize) -> Option<*mut T> {
        let end = offset.checked_add(size_of::<T>())?;
        let mapping = self.bars.get(usize::from(region.bar))?.as_ref()?;
        let address = mapping.start_address().value() + region.offset + offset;
        (end <= region.length && address.is_multiple_of(align_of::<T>())).then_some(address as *mut T)
    }

    fn read<T: Register + Default>(&self, region: Region, offset: usize) -> T {
        // SAFETY: the register lies in the device memory that `self` owns. Reading it affects the device only.
        self.register(region, offset)
            .map_or(T::default(), |register: *mut T| unsafe { register.read_volatile() })
    }

    fn write<T: Register>(&self, region: Region, offset: usize, value: T) {
        if let Some(register) = self.register::<T>(region, offset) {
            // SAFETY: as in `read`. What the device then does to memory is up to the values: only `start` writes addresses, those of the
            // queue's memory.
            unsafe { register.write_volatile(value) }
        }
    }

    fn write_64(&self, offset: usize, value: u64) {
        self.write(self.common, offset, value as u32);
        self.write(self.common, offset + 4, (value >> 32) as u32);
    }

    fn status(&self) -> u8 {
        self.read(self.common, common::STATUS)
    }

    /// Whether the device is there, and has not said that it is lost.
    pub(crate) fn is_well(&self) -> bool {
        let status = self.status();
        status != GONE && status & NEEDS_RESET == 0
    }

    /// Resets the device. It uses no memory any more if this returns true.
    pub(crate) fn reset(&self) -> bool {
        self.write(self.common, common::STATUS, 0_u8);
        (0..RESET_LOOKS).any(|_| matches!(self.status(), 0 | GONE))
    }

    /// The features that the device offers.
    pub fn features(&self) -> u64 {
        let half = |select: u32| {
            self.write(self.common, common::DEVICE_FEATURE_SELECT, select);
            u64::from(self.read::<u32>(self.common, common::DEVICE_FEATURE))
        };
        half(0) | half(1) << 32
    }

    /// A register of the device's own configuration; zero if there is none at this offset.
    pub fn config<T: Register + Default>(&self, offset: usize) -> T {
        self.config.map_or(T::default(), |region| self.read(region, offset))
    }

    /// Agrees on `features`, which the device must have offered, sets up queue 0 with room for requests and answers of `capacity` bytes
    /// together, and starts the device. `name` is for messages.
    ///
    /// # Errors
    /// See [`VirtioError`].
    pub fn start(mut self, features: u64, capacity: usize, name: &'static str) -> Result<Queue, VirtioError> {
        let mut status = ACKNOWLEDGE | DRIVER;
        self.write(self.common, common::STATUS, status);
        let features = features | VERSION_1;
        if self.features() & features != features {
            return Err(VirtioError::NotVersion1);
        }
        for select in [0, 1_u32] {
            self.write(self.common, common::DRIVER_FEATURE_SELECT, select);
            self.write(self.common, common::DRIVER_FEATURE, (features >> (32 * select)) as u32);
        }
        status |= FEATURES_OK;
        self.write(self.common, common::STATUS, status);
        if self.status() & FEATURES_OK == 0 {
            return Err(VirtioError::Refused);
        }

        let (bar, offset) = self.pci.msix_table()?;
        let slot = self.bars.get_mut(usize::from(bar)).ok_or(VirtioError::NotVersion1)?;
        let table = match slot {
            Some(table) => table,
            None => slot.insert(self.pci.map_bar(bar)?),
        };
        let (event, vector) = event::new().map_err(VirtioError::NoResource)?;
        self.pci.pci_enable_msix(table, offset, vector)?;
        self.write(self.common, common::CONFIG_VECTOR, NO_VECTOR);
        self.write(self.common, common::QUEUE_SELECT, 0_u16);
        let most: u16 = self.read(self.common, common::QUEUE_SIZE);
        let mut queue = Queue::new(self, most, capacity, event, name)?;
        let device = queue.device();
        device.write(device.common, common::QUEUE_SIZE, queue.size());
        device.write(device.common, common::QUEUE_VECTOR, 0_u16);
        if device.read::<u16>(device.common, common::QUEUE_VECTOR) != 0 {
            return Err(VirtioError::NoResource("the device has no interrupt for its queue"));
        }
        let [descriptors, driver, used] = queue.rings();
        device.write_64(common::QUEUE_DESCRIPTORS, descriptors);
        device.write_64(common::QUEUE_DRIVER, driver);
        device.write_64(common::QUEUE_DEVICE, used);
        let notify_off: u16 = device.read(device.common, common::QUEUE_NOTIFY_OFF);
        let notify_at = usize::from(notify_off) * device.notify_multiplier;
        device.write(device.common, common::QUEUE_ENABLE, 1_u16);
        device.write(device.common, common::STATUS, status | DRIVER_OK);
        queue.notify_at(notify_at);
        Ok(queue)
    }

    /// Tells the device that there is something in queue 0.
    pub(crate) fn notify(&self, offset: usize) {
        self.write(self.notify, offset, 0_u16);
    }
}
