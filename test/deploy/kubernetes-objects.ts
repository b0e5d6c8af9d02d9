import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseEnv } from 'node:util';
import { root, yamlDocuments, yamlFile } from './yaml-file.ts';

export type Labels = Readonly<Record<string, string>>;
type Probe = { readonly httpGet: { readonly path: string; readonly port: string } };

export type Container = {
  readonly name: string;
  readonly image: string;
  readonly args: readonly string[];
  readonly envFrom: readonly {
    readonly configMapRef?: { name: string };
    readonly secretRef?: { name: string };
  }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly startupProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly lifecycle?: { readonly preStop: { readonly exec: { readonly command: readonly string[] } } };
  readonly resources: Readonly<Record<'requests' | 'limits', Readonly<Record<'cpu' | 'memory', string>>>>;
  readonly securityContext: object;
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
};

export type Pod = {
  readonly metadata: { readonly labels: Labels };
  readonly spec: {
    readonly serviceAccountName: string;
    readonly automountServiceAccountToken: boolean;
    readonly enableServiceLinks: boolean;
    readonly terminationGracePeriodSeconds?: number;
    readonly securityContext: object;
    readonly containers: readonly [Container];
    readonly volumes: readonly { readonly name: string; readonly emptyDir: object }[];
  };
};

type Selector = { readonly matchLabels: Labels };
type Port = { readonly protocol: string; readonly port: string | number };
type Metric = {
  readonly resource?: { readonly name: string };
  readonly external?: {
    readonly metric: { readonly name: string; readonly selector: Selector };
    readonly target: { readonly averageValue: string };
  };
};

type Specs = {
  Deployment: { readonly replicas?: number; readonly selector: Selector; readonly template: Pod };
  Job: { readonly template: Pod };
  CronJob: { readonly jobTemplate: { readonly spec: { readonly template: Pod } } };
  Service: {
    readonly selector: Labels;
    readonly ports: readonly { readonly name: string; readonly targetPort: string }[];
  };
  PodDisruptionBudget: { readonly selector: Selector };
  HorizontalPodAutoscaler: {
    readonly scaleTargetRef: { readonly name: string };
    readonly minReplicas: number;
    readonly maxReplicas: number;
    readonly metrics: readonly Metric[];
  };
  NetworkPolicy: {
    readonly podSelector: Selector;
    readonly ingress?: readonly { readonly ports: readonly Port[] }[];
    readonly egress?: readonly { readonly ports: readonly Port[] }[];
  };
  Ingress: {
    readonly rules: readonly {
      readonly http: {
        readonly paths: readonly {
          readonly path: string;
          readonly backend: {
            readonly service: { readonly name: string; readonly port: { readonly name: string } };
          };
        }[];
      };
    }[];
  };
};
type Kind = keyof Specs;
export type KubernetesObject<Spec> = {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Labels };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec: Spec;
};
export type Objects = readonly KubernetesObject<unknown>[];

export type Kustomization = {
  readonly resources: readonly string[];
  readonly images: readonly { readonly name: string; readonly newTag?: string }[];
  readonly configMapGenerator: readonly { readonly name: string; readonly envs?: readonly string[] }[];
  readonly secretGenerator?: readonly { readonly name: string; readonly envs: readonly string[] }[];
};

export const folder = 'deploy/kubernetes';
export const base = yamlFile<Kustomization>(`${folder}/base/kustomization.yaml`);
export const production = yamlFile<Kustomization>(`${folder}/overlays/production/kustomization.yaml`);

/** What the files of the base say, before kustomize adds a namespace, images and what it generates. */
export const objectsOfBase: Objects = base.resources.flatMap((file) =>
  yamlDocuments(`${folder}/base/${file}`),
) as Objects;

export function ofKind<K extends Kind>(objects: Objects, kind: K): readonly KubernetesObject<Specs[K]>[] {
  return objects.filter((one) => one.kind === kind) as readonly KubernetesObject<Specs[K]>[];
}

/** Of everything that makes pods. */
export const podsOf = (objects: Objects): readonly Pod[] => [
  ...ofKind(objects, 'Deployment').map(({ spec }) => spec.template),
  ...ofKind(objects, 'Job').map(({ spec }) => spec.template),
  ...ofKind(objects, 'CronJob').map(({ spec }) => spec.jobTemplate.spec.template),
];

export const matches = (selector: Labels, labels: Labels): boolean =>
  Object.entries(selector).every(([name, value]) => labels[name] === value);

/** The variables of a file that kustomize makes a ConfigMap or Secret of. */
export const variablesOf = (file: string): NodeJS.Dict<string> =>
  parseEnv(readFileSync(path.join(root, folder, file), 'utf8'));
