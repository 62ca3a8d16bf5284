// A monogram and a colour for an app, from its name alone: the same everywhere and every time. Pure.

/** Hues chosen apart from each other and from the colours that mean something. */
export const logoHues = [195, 265, 300, 345, 230, 60, 110, 160] as const;

/** `home-assistant` → `HA`, `jellyfin` → `Je`. */
export function monogram(name: string): string {
  const words = name.split(/[^\p{L}\p{N}]+/u).filter((word) => word !== '');
  const [first = '', second] = words;
  if (second !== undefined) return (first.charAt(0) + second.charAt(0)).toUpperCase();
  return first.charAt(0).toUpperCase() + first.charAt(1).toLowerCase();
}

/** FNV-1a of the name, over the hues. */
export function logoHue(name: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < name.length; index++)
    hash = Math.imul(hash ^ name.charCodeAt(index), 0x01000193) >>> 0;
  return logoHues[hash % logoHues.length] ?? logoHues[0];
}
