//! How finely the examples draw on which adapter.

#[path = "../../examples/avatar/quality.rs"]
mod choice;

use choice::{Quality, QualityArg, is_software};

#[test]
fn quality_software_renderers_are_recognised() {
    for (kind, names) in [
        ("Cpu", ["llvmpipe (LLVM 15.0.6, 256 bits)", "llvmpipe", "Mesa 22.3.6"]),
        ("Cpu", ["Microsoft Basic Render Driver", "", ""]),
        ("Other", ["llvmpipe (LLVM 17.0.6, 256 bits)", "4.5 (Core Profile) Mesa 23.2.1", ""]),
        ("Other", ["SwiftShader Device (Subzero)", "SwiftShader driver", ""]),
        ("VirtualGpu", ["ANGLE (Google, Vulkan 1.3.0 (SwiftShader Device (LLVM 10.0.0)))", "", ""]),
        ("Other", ["Apple Software Renderer", "", ""]),
        ("Cpu", ["a renderer of tomorrow", "", ""]),
    ] {
        assert!(is_software(kind, &names), "{kind} {names:?}");
    }
    for (kind, names) in [
        ("DiscreteGpu", ["NVIDIA GeForce RTX 4070", "NVIDIA", "550.54.14"]),
        ("IntegratedGpu", ["Intel(R) Iris(R) Xe Graphics (TGL GT2)", "Intel open-source Mesa driver", "Mesa 23.2.1"]),
        ("IntegratedGpu", ["Apple M2", "", ""]),
        ("DiscreteGpu", ["AMD Radeon RX 6600 (RADV NAVI23)", "radv", "Mesa 23.2.1-1ubuntu3.1 (LLVM 15.0.7)"]),
        (
            "DiscreteGpu",
            ["AMD Radeon RX 7800 XT", "AMD proprietary driver", "24.7.1 (AMD Software: Adrenalin Edition)"],
        ),
        ("Other", ["NVIDIA Tegra X1", "", ""]),
    ] {
        assert!(!is_software(kind, &names), "{kind} {names:?}");
    }
}

#[test]
fn quality_is_low_only_in_window_of_software_renderer_or_on_request() {
    for (arg, software, windowed, quality) in [
        (QualityArg::Auto, true, true, Quality::Low),
        (QualityArg::Auto, true, false, Quality::High),
        (QualityArg::Auto, false, true, Quality::High),
        (QualityArg::Auto, false, false, Quality::High),
        (QualityArg::High, true, true, Quality::High),
        (QualityArg::Low, false, false, Quality::Low),
    ] {
        assert_eq!(arg.resolve(software, windowed), quality, "{arg:?}, software {software}, window {windowed}");
    }
}
