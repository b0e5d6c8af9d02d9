import { yamlFile } from './yaml-file.ts';

export type Service = {
  readonly image: string;
  readonly build?: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string | number>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly user?: string;
  readonly container_name?: string;
  readonly read_only?: boolean;
  readonly restart?: string;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly stop_grace_period?: string;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck: { readonly test: readonly string[] } | { readonly disable: true };
  readonly configs?: readonly { readonly source: string; readonly target: string }[];
  readonly logging?: { readonly options: Readonly<Record<string, string>> };
  readonly deploy?: { readonly resources: { readonly limits: Readonly<Record<string, string>> } };
};

export type ComposeFile = {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
  readonly configs: Readonly<Record<string, { readonly content: string }>>;
};

/** docker-compose.yml as it is where no variable is set. */
export function composeFile(): ComposeFile {
  return interpolated(yamlFile<ComposeFile>('docker-compose.yml'));
}

export function serviceOf({ services }: ComposeFile, name: string): Service {
  const service = services[name];
  if (!service) throw new Error(`docker-compose.yml has no service ${name}, but ${Object.keys(services)}`);
  return service;
}

/** The only form of a variable that the file may use is `${NAME:-default}`: it must work with nothing set. */
function interpolated<T>(value: T): T {
  if (typeof value === 'string') {
    const text = value.replaceAll(
      /\$(?:(\$)|\{[A-Z_]+:-([^}]*)\})/g,
      (_, dollar, fallback) => dollar ?? fallback,
    );
    if (/\$\{/.test(text)) throw new Error(`docker-compose.yml has a variable without a default: ${value}`);
    return text as T;
  }
  if (Array.isArray(value)) return value.map(interpolated) as T;
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, interpolated(inner)])) as T;
}
