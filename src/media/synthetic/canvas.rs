//! Draws the test picture: a drifting gradient, a box that goes round, and a clock.

use std::time::Duration;

/// A picture in planar YUV 4:2:0, limited range.
#[derive(Clone, Debug)]
pub struct Canvas {
    /// Pixels a line; even.
    pub width: usize,
    /// Lines; even.
    pub height: usize,
    /// Brightness, `width * height`.
    pub luma: Vec<u8>,
    /// Blue difference, a quarter of that.
    pub blue: Vec<u8>,
    /// Red difference, likewise.
    pub red: Vec<u8>,
}

/// Seven rows of five pixels for each of `0` to `9`, `:` and `.`; the highest of five bits is the left pixel.
const FONT: [[u8; 7]; 12] = [
    [0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e],
    [0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e],
    [0x0e, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1f],
    [0x1f, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0e],
    [0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02],
    [0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e],
    [0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e],
    [0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08],
    [0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e],
    [0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c],
    [0x00, 0x0c, 0x0c, 0x00, 0x0c, 0x0c, 0x00],
    [0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x0c],
];

/// Pixels from one character to the next before scaling: five and a gap.
const ADVANCE: usize = 6;

/// White and black of limited range.
const WHITE: u8 = 235;
const BLACK: u8 = 16;

impl Canvas {
    /// A picture of black, tinted.
    pub fn new(width: usize, height: usize) -> Canvas {
        let half = width / 2;
        let places = || (0..half * (height / 2)).map(|place| (place % half, place / half));
        // The tint does not move.
        let blue = places().map(|(x, _)| 96 + (x * 64 / half) as u8).collect();
        let red = places().map(|(_, y)| 96 + (y * 128 / height) as u8).collect();
        Canvas { width, height, luma: vec![BLACK; width * height], blue, red }
    }

    /// Draws the picture that is shown `time` after the channel's start.
    pub fn draw(&mut self, time: Duration) {
        let step = time.as_millis() as usize / 40;
        self.draw_background(step);
        self.draw_box(step);
        let seconds = time.as_secs();
        let (minutes, second) = (seconds / 60 % 60, seconds % 60);
        let text = if self.width < 200 {
            format!("{minutes:02}:{second:02}")
        } else {
            format!("{:02}:{minutes:02}:{second:02}.{:02}", seconds / 3600 % 100, time.subsec_millis() / 10)
        };
        let scale = (self.width / (ADVANCE * text.len() + 2)).max(1);
        let left = self.width.saturating_sub(scale * (ADVANCE * text.len() - 1)) / 2;
        let top = self.height.saturating_sub(scale * 7) / 2;
        self.draw_text(&text, left, top, scale);
    }

    fn draw_background(&mut self, step: usize) {
        // A triangle wave of 128 pixels, 40 to 103; every line shows it one pixel further.
        let wave: Vec<u8> = (0..self.width + 128).map(|x| 40 + (x % 128).min(127 - x % 128) as u8).collect();
        for (y, line) in self.luma.chunks_exact_mut(self.width).enumerate() {
            let phase = (y + step * 2) % 128;
            line.copy_from_slice(&wave[phase..phase + line.len()]);
        }
    }

    /// A bright square that walks from left to right along the lower edge.
    fn draw_box(&mut self, step: usize) {
        let side = self.height / 8;
        let left = step * 4 % (self.width - side);
        for line in self.luma.chunks_exact_mut(self.width).rev().take(side) {
            line[left..left + side].fill(WHITE);
        }
    }

    fn draw_text(&mut self, text: &str, left: usize, top: usize, scale: usize) {
        for (index, character) in text.bytes().enumerate() {
            let glyph = match character {
                b'0'..=b'9' => usize::from(character - b'0'),
                b':' => 10,
                _ => 11,
            };
            for (row, bits) in FONT[glyph].iter().enumerate() {
                for column in (0..5).filter(|column| bits >> (4 - column) & 1 == 1) {
                    let x = left + (index * ADVANCE + column) * scale;
                    self.fill(x, top + row * scale, scale);
                }
            }
        }
    }

    /// A white square, cut at the picture's edges.
    fn fill(&mut self, left: usize, top: usize, side: usize) {
        let (right, bottom) = ((left + side).min(self.width), (top + side).min(self.height));
        for y in top..bottom {
            self.luma[y * self.width + left.min(right)..y * self.width + right].fill(WHITE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_moves_and_the_clock_runs() {
        let mut canvas = Canvas::new(64, 48);
        canvas.draw(Duration::ZERO);
        let first = canvas.luma.clone();
        canvas.draw(Duration::from_millis(40));
        assert_ne!(first, canvas.luma);
        let white = |luma: &[u8]| luma[10 * 64..38 * 64].iter().filter(|pixel| **pixel == WHITE).count();
        canvas.draw(Duration::from_secs(8));
        let eight = white(&canvas.luma);
        canvas.draw(Duration::from_secs(1));
        assert!(eight > white(&canvas.luma), "an 8 has more ink than a 1");
    }

    #[test]
    fn every_size_is_drawn() {
        for (width, height) in [(16, 16), (64, 48), (1280, 720), (3840, 2160)] {
            Canvas::new(width, height).draw(Duration::from_secs(359_999));
        }
    }
}
