import type { Command } from 'commander';
import type { z } from 'zod';
import type { positionedDevice } from '../../http/device-answers.ts';
import { type ApiClient, apiClient } from '../api-client.ts';
import { type CommandContext, clientOptions, localUrl } from '../command-context.ts';
import { printable } from '../format.ts';

export type PositionedDevice = z.output<typeof positionedDevice>;
export type ApiOptions = { readonly url?: string; readonly json?: boolean };

/** Adds one command on devices; `example` is what it may look like. */
export type AddCommand = (name: string, description: string, example: string) => Command;

export const clientOf = ({ url }: ApiOptions, context: CommandContext): ApiClient =>
  apiClient(url ?? localUrl(context), clientOptions(context));

export const deviceAddress = (id: string): string => `/api/v1/devices/${encodeURIComponent(id)}`;

export function deviceText({ deviceId, labels, position: _, ...rest }: PositionedDevice): string {
  const lines = Object.entries({ id: deviceId, ...rest, labels: labelText(labels) });
  const width = Math.max(...lines.map(([name]) => name.length));
  return lines.map(([name, value]) => `${name.padEnd(width)}  ${printable(String(value))}\n`).join('');
}

export const labelText = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');
