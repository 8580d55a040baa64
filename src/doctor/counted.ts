/** `1 row`, `2,000 rows`. */
export function counted(count: number, noun: string): string {
  return `${grouped(count)} ${noun}${count === 1 ? '' : 's'}`;
}

/** `2,000` */
export function grouped(count: number): string {
  return count.toLocaleString('en-US');
}
