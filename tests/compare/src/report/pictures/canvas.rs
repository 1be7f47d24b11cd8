//! The canvas of all pictures. It scales, and fixes colours and letters.

use plotters::coord::Shift;
use plotters::prelude::*;
use serde::Serialize;

/// The canvas is drawn this many times larger than it is shown, because it knows only whole points.
pub const FINE: i32 = 4;
pub const WIDTH: i32 = 400;
pub const FONT: i32 = 12;

pub const INK: RGBColor = RGBColor(34, 34, 34);
pub const GRID: RGBColor = RGBColor(222, 222, 222);
pub const GREY: RGBColor = RGBColor(176, 176, 176);
pub const BLUE: RGBColor = RGBColor(0, 114, 178);
pub const SKY: RGBColor = RGBColor(86, 180, 233);
pub const YELLOW: RGBColor = RGBColor(240, 228, 66);
pub const ORANGE: RGBColor = RGBColor(230, 159, 0);

pub type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// An SVG element without its opening tag. The page writes that tag, and the title in it.
#[derive(Debug, Serialize)]
pub struct Drawing {
    /// The value of its `viewBox`.
    view: String,
    inside: String,
}

/// Draws a picture of the usual width.
pub fn draw(
    height: i32,
    paint: impl FnOnce(&Canvas<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<Drawing> {
    let (width, height) = ((WIDTH * FINE) as u32, (height * FINE) as u32);
    let mut text = String::new();

    let canvas = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
    paint(&canvas)?;
    canvas.present()?;
    drop(canvas);

    let inside = text.split_once('>').map_or("", |(_, inside)| inside);
    Ok(Drawing {
        view: format!("0 0 {width} {height}"),
        inside: inside.replace(" opacity=\"1\"", ""),
    })
}

pub fn font(size: i32) -> FontDesc<'static> {
    // The library takes a size that is 1.24 times the one that it writes.
    ("sans-serif", f64::from(size * FINE) * 1.24).into_font()
}

/// Cuts a name that has more than this many letters.
pub fn cut(name: &str, letters: usize) -> String {
    if name.chars().count() <= letters {
        return name.to_owned();
    }

    name.chars().take(letters - 1).chain(['…']).collect()
}
