#!/usr/bin/env bash
# infra/local/kind/up.sh
# From nothing to Kubeflow Pipelines on kind with this project's images: the commands of docs/kind.md in their order. It
# may be called again: what is there stays, images and manifests are brought up to date.
set -euo pipefail
cd "$(dirname "$0")/../../.."

for program in docker kind kubectl openssl; do
  command -v "$program" >/dev/null || { echo "$program is not installed: see docs/kind.md." >&2; exit 1; }
done

# --- The cluster.
kind get clusters | grep -qx inception || kind create cluster --config infra/local/kind/cluster.yaml
kubectl config use-context kind-inception

# --- The images, under a tag that no other code ever has.
make images IMAGES="light cpu mlflow"
tag=$(docker images inception-light --format '{{.Tag}}' | grep -vx -e latest -e 0.1.0 | head -n 1)
docker tag "inception-cpu:$tag" inception-cpu:0.1.0
docker tag "inception-mlflow:$tag" inception-mlflow:0.1.0
kind load docker-image --name inception "inception-light:$tag" "inception-cpu:$tag" inception-cpu:0.1.0 inception-mlflow:0.1.0
mkdir -p .inception
printf '{"light": "inception-light:%s", "cpu": "inception-cpu:%s", "gpu": "inception-cpu:%s"}\n' "$tag" "$tag" "$tag" \
  > .inception/kind.images.json

# --- Kubeflow Pipelines 2.17.0.
kubectl apply -k infra/local/kind/kubeflow/crds
kubectl wait --for=condition=established --timeout=60s crd/applications.app.k8s.io
kubectl apply -k infra/local/kind/kubeflow/server

# --- MLflow, its database, and what steps need. Passwords are made once.
kubectl create namespace inception --dry-run=client --output=yaml | kubectl apply -f -
if ! kubectl get secret mlflow-database --namespace inception >/dev/null 2>&1; then
  database=$(openssl rand -hex 24) client=$(openssl rand -hex 24)
  kubectl create secret generic mlflow-database --namespace inception \
    --from-literal=password="$database" \
    --from-literal=uri="postgresql+psycopg2://mlflow:$database@postgres.inception.svc:5432/mlflow"
  kubectl create secret generic mlflow-admin --namespace inception \
    --from-literal=username=admin --from-literal=password="$(openssl rand -hex 24)"
  kubectl create secret generic mlflow-flask --namespace inception --from-literal=secret-key="$(openssl rand -hex 32)"
  for namespace in inception kubeflow; do
    kubectl create secret generic inception-mlflow-client --namespace "$namespace" \
      --from-literal=username=inception --from-literal=password="$client"
  done
fi
kubectl delete job --namespace inception --ignore-not-found mlflow-migration mlflow-client
kubectl delete job --namespace kubeflow --ignore-not-found inception-state-permissions
kubectl apply -k infra/local/kind
kubectl rollout restart deployment/mlflow --namespace inception

# --- Until all of it answers.
kubectl wait --namespace inception --for=condition=complete --timeout=10m job/mlflow-client
kubectl wait --namespace kubeflow --for=condition=Available --timeout=15m deployment --all
echo "Next: forward the ports, docs/kind.md says how."
