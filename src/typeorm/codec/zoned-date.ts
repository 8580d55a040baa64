import type { Zone } from '../dialect/value-rules';

const TIME_WITHOUT_ZONE = /^\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?$/;

const MINUTE_MS = 60_000;

/** An instant in ISO 8601: the time in a zone, and the zone's offset then. */
export interface ZonedDate {
  readonly time: string;
  readonly offset: string;
}

/** Writes an instant in a zone. Those at the ends of what a Date can be are in UTC. */
export function zonedDate(date: Date, zone: Zone): ZonedDate {
  const minutes = offsetIn(zone, date);
  const shifted = new Date(date.getTime() + minutes * MINUTE_MS);
  return minutes === 0 || Number.isNaN(shifted.getTime())
    ? { time: withoutZone(date), offset: 'Z' }
    : { time: withoutZone(shifted), offset: offsetText(minutes) };
}

/** Adds the zone to a time without one, in which JavaScript would read it as local. */
export function withZone(text: string, zone: Zone): string {
  if (zone === 'local' || !TIME_WITHOUT_ZONE.test(text)) return text;
  return `${text.replace(' ', 'T')}${zone}`;
}

function withoutZone(date: Date): string {
  return date.toISOString().slice(0, -1);
}

function offsetIn(zone: Zone, date: Date): number {
  if (zone === 'Z') return 0;
  // Before there were time zones, offsets had seconds.
  if (zone === 'local') return -Math.trunc(date.getTimezoneOffset());
  const [hours = 0, minutes = 0] = zone.slice(1).split(':').map(Number);
  return (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes);
}

function offsetText(minutes: number): string {
  const parts = [Math.trunc(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `${minutes < 0 ? '-' : '+'}${parts.map((part) => String(part).padStart(2, '0')).join(':')}`;
}
