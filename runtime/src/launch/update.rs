//! Launches in a graph that are given other arguments.

#![allow(unsafe_code)]

use tilewright_dsl::call::Call;

use super::{check, cuda, host};
use crate::device::{CapturedLaunch, Graph};
use crate::error::LaunchError;
use crate::hardware::capture;
use crate::hardware::memory::refuse_borrowed;
use crate::specialize::Program;

impl Graph {
    /// Lets a launch in the graph be that of `call` from the next launch of the graph on: of the same kernel, with other tensors,
    /// counts and scalars. What was launched before is not affected. It is for those who would rather give new counts than read
    /// them from device memory.
    ///
    /// * The call is checked, counted and served as a launch is, and may have to wait for a compiler in the same way; its
    ///   grid, its class and its variant may be others.
    /// * With no programs, the launch does nothing until it is updated again.
    /// * The graph keeps the memory of the call, and no longer that of the launch before; it keeps the old variant.
    /// * It is one or two calls to the driver, and no capture.
    ///
    /// ```
    /// use tilewright_dsl::call::Runtime;
    /// use tilewright_dsl::{kernel, lang::*};
    /// use tilewright_runtime::{Device, Launch, LaunchError};
    ///
    /// #[kernel(grid = [rows])]
    /// fn double(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 1>, rows: Count) {
    ///     out.store([program_id(0)], src.load([program_id(0)]) * 2.0);
    /// }
    ///
    /// let device = Device::cpu();
    /// let src = device.upload(&[1.0f32, 2.0, 3.0, 4.0], [4])?;
    /// let mut out = device.zeros::<f32, 1>([4])?;
    /// // Once before, so that the kernel is compiled and loaded.
    /// double(&mut out, &src, Runtime(0)).launch(&device)?;
    /// double(&mut out, &src, Runtime(1)).launch(&device)?;
    /// let mut doubled = None;
    /// let mut graph = device.capture(|stream| {
    ///     let launched = double(&mut out, &src, Runtime(1)).launch_on(stream)?;
    ///     doubled = launched.captured().cloned();
    ///     Ok::<_, LaunchError>(())
    /// })?;
    /// let doubled = doubled.expect("it has programs");
    /// graph.update(&doubled, double(&mut out, &src, Runtime(3)))?;
    /// graph.launch()?;
    /// assert_eq!(out.download()?, [2.0, 4.0, 6.0, 0.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What a launch of the call fails with; [`LaunchError::NotUpdated`] if it cannot be that launch; within a capture,
    /// [`DeviceError::Capturing`](crate::DeviceError::Capturing); with memory that is only borrowed,
    /// [`DeviceError::BorrowedInGraph`](crate::DeviceError::BorrowedInGraph). The graph stays as it was.
    pub fn update(&mut self, launch: &CapturedLaunch, call: Call<'_>) -> Result<(), LaunchError> {
        self.update_and(false, launch, call)
    }

    /// As [`Graph::update`]; and the call may use memory that is only borrowed, such as an engine's.
    ///
    /// # Errors
    /// As for [`Graph::update`].
    ///
    /// # Safety
    /// As for [`Device::capture_borrowing`](crate::Device::capture_borrowing).
    pub unsafe fn update_borrowing(&mut self, launch: &CapturedLaunch, call: Call<'_>) -> Result<(), LaunchError> {
        self.update_and(true, launch, call)
    }

    fn update_and(&mut self, borrowing: bool, launch: &CapturedLaunch, call: Call<'_>) -> Result<(), LaunchError> {
        capture::refuse_within("the update of a graph")?;
        let at = self
            .place_of(launch)
            .ok_or_else(|| refused(&call, "it is a launch of another graph".to_owned()))?;
        if !launch.kernel.identity().eq(call.definition().identity()) {
            let name = launch.kernel.name();
            let reason = format!("a launch of `{name}` was captured, or of other compile-time arguments");
            return Err(refused(&call, reason));
        }
        if launch.is_overlapping != call.is_overlapping() {
            let reason = "only one of the two may overlap the launch before it, which is fixed in the graph".to_owned();
            return Err(refused(&call, reason));
        }
        let device = self.device().clone();
        check(&call, &device)?;
        refuse_borrowed(borrowing, cuda::memories(call.arguments()))?;
        // It is not in a graph as long as it is planned: it may wait.
        let plan = device.specializer().plan(&call, &|| Ok(false))?;
        match (&plan.served, self.as_cuda()) {
            (Some(served), Some(graph)) => {
                if let Program::Cuda(program) = served.variant.program() {
                    cuda::update(&call, plan.grid, served, program, &device, (graph, at))?;
                }
            }
            (None, Some(graph)) => graph.disable(at)?.ok_or_else(|| unknown_place(&call))?,
            (Some(served), None) => {
                let launch = host::kept(call, plan.grid, &served.variant, &device)?;
                self.replace(at, launch);
                return Ok(());
            }
            (None, None) => self.replace(at, Box::new(|| {})),
        }
        call.recycle();
        Ok(())
    }
}

pub(super) fn refused(call: &Call<'_>, reason: String) -> LaunchError {
    LaunchError::NotUpdated {
        kernel: call.definition().name(),
        reason,
    }
}

/// The driver did not say which part of the graph the launch is.
pub(super) fn unknown_place(call: &Call<'_>) -> LaunchError {
    let reason = "the driver has not told the launch from other work of the graph: capture it again";
    refused(call, reason.to_owned())
}
