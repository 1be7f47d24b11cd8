//! Draws bars, from the shortest to the longest, each with its figure.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{BLUE, Canvas, Drawing, FINE, FONT, GREY, INK, WIDTH, cut, draw, font};
use crate::report::summary::SYNCHAT;

/// A name, and the lengths of the parts of its bar.
pub type Bar = (String, Vec<f64>);

/// Draws a bar for each row. Returns `None` without rows.
pub fn bars(
    mut rows: Vec<Bar>,
    parts: &[(&str, RGBColor)],
    show: fn(f64) -> String,
) -> anyhow::Result<Option<Drawing>> {
    let total = |row: &Bar| row.1.iter().sum::<f64>();
    rows.sort_by(|a, b| total(a).total_cmp(&total(b)));

    let longest = rows.iter().map(total).fold(0.0, f64::max);
    if rows.is_empty() {
        return Ok(None);
    }

    // Only stacked bars need a legend.
    let stacked = parts.len() > 1;
    let head = if stacked { 26 } else { 4 };
    let svg = draw(head + 22 * rows.len() as i32 + 4, |canvas| {
        if stacked {
            draw_legend(canvas, parts)?;
        }
        for (place, row) in rows.iter().enumerate() {
            let middle = (head + 22 * place as i32 + 11) * FINE;
            draw_bar(canvas, row, parts, middle, longest, &show(total(row)))?;
        }
        Ok(())
    })?;

    Ok(Some(svg))
}

fn draw_bar(
    canvas: &Canvas<'_>,
    (name, figures): &Bar,
    parts: &[(&str, RGBColor)],
    middle: i32,
    longest: f64,
    text: &str,
) -> anyhow::Result<()> {
    let (left, right) = (112 * FINE, (WIDTH - 70) * FINE);
    let own = name == SYNCHAT;
    let weight = if own {
        FontStyle::Bold
    } else {
        FontStyle::Normal
    };

    let label = |h| {
        font(FONT)
            .style(weight)
            .color(&INK)
            .pos(Pos::new(h, VPos::Center))
    };

    // The name on the left.
    canvas.draw(&Text::new(
        cut(name, 16),
        (left - 5 * FINE, middle),
        label(HPos::Right),
    ))?;

    // The parts, one behind the other.
    let half = 7 * FINE;
    let mut from = left;
    for (figure, (_, colour)) in figures.iter().zip(parts) {
        // Memory can shrink. Such a part has no length.
        let share = if longest > 0.0 {
            figure.max(0.0) / longest
        } else {
            0.0
        };
        let to = (from + (share * f64::from(right - left)) as i32).min(right);
        let colour = match parts.len() {
            1 if own => BLUE,
            1 => GREY,
            _ => *colour,
        };

        let corners = [(from, middle - half), (to, middle + half)];
        canvas.draw(&Rectangle::new(corners, colour.filled()))?;
        from = to;
    }
    canvas.draw(&Text::new(
        text,
        (from + 5 * FINE, middle),
        label(HPos::Left),
    ))?;
    Ok(())
}

fn draw_legend(canvas: &Canvas<'_>, parts: &[(&str, RGBColor)]) -> anyhow::Result<()> {
    let mut x = 112 * FINE;
    for (name, colour) in parts {
        let corners = [(x, 6 * FINE), (x + 11 * FINE, 17 * FINE)];
        canvas.draw(&Rectangle::new(corners, colour.filled()))?;

        let style = font(FONT)
            .color(&INK)
            .pos(Pos::new(HPos::Left, VPos::Center));
        canvas.draw(&Text::new(*name, (x + 15 * FINE, 12 * FINE), style))?;
        x += (28 + name.chars().count() as i32 * 6) * FINE;
    }
    Ok(())
}
