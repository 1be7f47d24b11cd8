//! What all pictures are drawn on: a canvas that scales, its colours and its letters.

use plotters::coord::Shift;
use plotters::prelude::*;
use serde::Serialize;

/// The canvas is drawn so much larger than it is shown, since it knows whole points only.
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

/// An SVG element without its opening tag, which the page writes, with the title in it.
#[derive(Debug, Serialize)]
pub struct Drawing {
    /// Its own measure: width and height.
    view: String,
    inside: String,
}

/// A drawing of the usual width, as an element for a page.
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

/// At most so many letters.
pub fn cut(name: &str, letters: usize) -> String {
    if name.chars().count() <= letters {
        return name.to_owned();
    }
    name.chars().take(letters - 1).chain(['…']).collect()
}
