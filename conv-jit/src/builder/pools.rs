//! Pooling, dilation and erosion: another reduction in the place of the sum.

use conv_ir::{ConvSpec, Error, Issue, Padding, PerAxis, Reduction, Size};

use super::{Builder, Said};

/// Pools, each of every channel by itself, and their words.
impl Builder {
    /// The next step: max pooling, of stride 1 unless `stride` says otherwise. Padding never wins.
    ///
    /// ```
    /// // ResNet's stem.
    /// let stem = conv_jit::chain(3, [224, 224])
    ///     .conv(64, 7).stride(2).padding(3).bias(true).activation(conv_jit::Activation::Relu)
    ///     .max_pool(3).stride(2).padding(1);
    /// assert_eq!(stem.describe()?.output_shape(), [1, 64, 56, 56]);
    /// // Pools have no weights: nothing is left to pack.
    /// let pool = conv_jit::chain(1, [4]).max_pool(2).stride(2).compile()?.ready::<f32>()?;
    /// let mut output = [0.0; 2];
    /// pool.run(&[1.0, 3.0, -2.0, -5.0], &mut output)?;
    /// assert_eq!(output, [3.0, -2.0]);
    /// # Ok::<(), conv_jit::Error>(())
    /// ```
    pub fn max_pool(self, kernel: impl Into<PerAxis<usize>>) -> Self {
        self.pool(Reduction::Max, kernel)
    }

    /// The next step: min pooling.
    pub fn min_pool(self, kernel: impl Into<PerAxis<usize>>) -> Self {
        self.pool(Reduction::Min, kernel)
    }

    /// The next step: average pooling. Padding does not count, unless
    /// [`count_include_pad`](Self::count_include_pad) says so.
    pub fn avg_pool(self, kernel: impl Into<PerAxis<usize>>) -> Self {
        self.pool(Reduction::Average { count_include_pad: false }, kernel)
    }

    /// The next step: the greatest element of each channel.
    pub fn global_max_pool(self) -> Self {
        self.max_pool(1).over_all()
    }

    /// The next step: the mean of each channel.
    pub fn global_avg_pool(self) -> Self {
        self.avg_pool(1).over_all()
    }

    /// What is made of the elements under the last step's window, in the place of their weighted
    /// sum: dilation and erosion take the step's weight as their structuring element.
    ///
    /// ```
    /// use conv_jit::Reduction;
    /// let dilated = conv_jit::conv2d(1, 1, 3).input([5, 5]).padding(1);
    /// let dilated = dilated.reduction(Reduction::Dilation).compile()?;
    /// let dilated = dilated.pack(&[0.0f32; 9], None)?;
    /// let (mut point, mut output) = ([0.0; 25], [0.0; 25]);
    /// point[12] = 1.0;
    /// dilated.run(&point, &mut output)?;
    /// assert_eq!(output.iter().sum::<f32>(), 9.0);
    /// # Ok::<(), conv_jit::Error>(())
    /// ```
    pub fn reduction(self, reduction: Reduction) -> Self {
        self.said("reduction", |step| step.spec.reduction = reduction)
    }

    /// Pools only: the last window may hang over the end, if it starts in the input or the padding
    /// before it.
    pub fn ceil_mode(self, ceil_mode: bool) -> Self {
        self.said("ceil_mode", |step| step.spec.ceil_mode = ceil_mode)
    }

    /// Average pooling only: padding counts, as in PyTorch unless it is told otherwise.
    pub fn count_include_pad(self, count: bool) -> Self {
        self.said("count_include_pad", |step| step.count_include_pad = Some(count))
    }

    fn pool(self, reduction: Reduction, kernel: impl Into<PerAxis<usize>>) -> Self {
        self.depthwise(kernel).reduction(reduction)
    }

    /// The window is the whole input, so nothing is around it.
    fn over_all(self) -> Self {
        self.said("kernel", |step| step.global = true)
    }
}

impl Said {
    /// The spec with what pools say, now that the input is known.
    pub(super) fn pooled(&self, mut spec: ConvSpec) -> Result<ConvSpec, Error> {
        let wrong = |field, message: &str| {
            let issue = Issue { field, axis: None, rank: 0, message: message.to_owned() };
            Error::Invalid(vec![issue])
        };
        if self.global {
            let known: Option<Vec<usize>> = spec.input.iter().map(Size::known).collect();
            let free = "the window is the whole input, of which a size is free: give numbers";
            spec.kernel = known.ok_or_else(|| wrong("kernel", free))?;
            if spec.padding != Padding::Valid {
                return Err(wrong("padding", "the window is the whole input: leave it out"));
            }
        }
        match (&mut spec.reduction, self.count_include_pad) {
            (_, None) => {}
            (Reduction::Average { count_include_pad }, Some(said)) => *count_include_pad = said,
            (_, Some(_)) => {
                return Err(wrong("count_include_pad", "is about average pooling: say `avg_pool`"));
            }
        }
        Ok(spec)
    }
}
